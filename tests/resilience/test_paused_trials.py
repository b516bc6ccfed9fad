"""A thousand pauses and resumptions over four workers that are killed again and again."""

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from storage.attempts import read_attempts
from storage.budget import Budget
from storage.optuna_rows import PAUSED
from storage.queue_snapshot import Rungs
from storage.study_storage import create_study_storage
from tests.resilience.conftest import on_both_databases
from tests.tools.audit import install_audit, read_audit
from tests.tools.light_processes import start_light_worker
from tests.tools.light_trials import Cluster, create_light_study, light_queue
from tests.tools.studies import SmallStudy

RUNGS = Rungs((1, 2, 3), 4)
BUDGET = Budget("epochs", 3000)
N_WORKERS = 4
N_PAUSES = 1000
LONGEST_SECONDS = 840.0


@pytest.mark.slow
@pytest.mark.timeout(900)
@on_both_databases
def test_a_thousand_pauses_lose_and_double_nothing(study: SmallStudy, tmp_path: Path) -> None:
    handle = create_study_storage(study.url, outage_seconds=60)
    create_light_study(handle, BUDGET)
    install_audit(study.url)
    start = time.monotonic()

    n_kills = 0
    lives = [0] * N_WORKERS
    workers = {}
    for index in range(N_WORKERS):
        workers[index] = start_light_worker(study.url, tmp_path, BUDGET, RUNGS, f"{index}-0")
    while workers:
        assert time.monotonic() - start < LONGEST_SECONDS
        for index, worker in list(workers.items()):
            worker.join(timeout=0.05)
            if worker.exitcode is None:
                continue
            del workers[index]
            assert worker.exitcode in (0, -signal.SIGKILL)
            if worker.exitcode != 0:
                n_kills += 1
                lives[index] += 1
                seed = f"{index}-{lives[index]}"
                workers[index] = start_light_worker(study.url, tmp_path, BUDGET, RUNGS, seed)

    cluster = Cluster(handle, light_queue(handle, BUDGET, RUNGS), tmp_path)
    n_epochs = cluster.check()
    assert BUDGET.amount - (RUNGS.n_epochs - RUNGS.epochs[0]) < n_epochs <= BUDGET.amount
    finished, reported = read_audit(study.url)
    trials = cluster.trials()
    assert finished == Counter(trial._trial_id for trial in trials)
    assert set(reported.values()) == {1} and reported.total() == n_epochs
    attempts = read_attempts(handle.database, [trial._trial_id for trial in trials])
    endings = Counter(attempt.ending for attempt in attempts)
    by_trial: dict[int, list[str | None]] = {}
    for attempt in sorted(attempts, key=lambda one: (one.trial_id, one.attempt)):
        by_trial.setdefault(attempt.trial_id, []).append(attempt.ending)
    n_resumed = sum(each[:-1].count(PAUSED) for each in by_trial.values())
    print(
        f"\n{study.url.partition(':')[0]}, {time.monotonic() - start:.0f} s: "
        f"{len(trials)} trials, {endings[PAUSED]} pauses, {n_resumed} resumptions, "
        f"{n_kills} kills, {n_epochs} of {BUDGET.amount:.0f} epochs"
    )
    assert min(endings[PAUSED], n_resumed) >= N_PAUSES and n_kills >= 50
    handle.remove_session()
    handle.engine.dispose()
