import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from optuna.trial import TrialState

from storage.leases import read_endings
from tests.postgresql import PostgreSQLServer, requires_postgresql
from tests.resilience.conftest import on_both_databases
from tests.tools.cutting_proxy import CuttingProxy
from tests.tools.processes import StartedProcess, wait_until
from tests.tools.studies import SmallStudy, epochs_said, opened
from tests.tools.write_lock import write_lock_held

N_WORKERS, N_TRIALS, N_EPOCHS = 4, 8, 6
EVERY_EPOCH = [(trial, epoch) for trial in range(N_TRIALS) for epoch in range(1, N_EPOCHS + 1)]


@pytest.fixture
def middle(study: SmallStudy) -> tuple[SmallStudy, list[StartedProcess]]:
    """A study in its middle, with four workers."""
    study = study.with_settings(
        search={"budget": {"trials": N_TRIALS}, "n_epochs": N_EPOCHS},
        optimization={"batch_size": 2},
    ).init()
    workers = [study.start_worker() for _ in range(N_WORKERS)]
    for worker in workers:
        worker.wait_for_epoch(2)
    return study, workers


def assert_nothing_lost(study: SmallStudy, workers: list[StartedProcess]) -> None:
    """Check that no worker died, and no epoch was trained twice."""
    assert [worker.wait(150) for worker in workers] == [0] * N_WORKERS
    study.assert_whole(N_TRIALS)
    said = epochs_said(*workers)
    print("epochs by worker:", [len(worker.epochs()) for worker in workers])
    assert said == EVERY_EPOCH, Counter(said) - Counter(EVERY_EPOCH)


@pytest.mark.slow
@requires_postgresql
@pytest.mark.parametrize("study", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("mode", "seconds"), [("fast", 60), ("immediate", 10)])
def test_postgresql_stopped_in_the_middle_of_a_study(
    middle: tuple[SmallStudy, list[StartedProcess]],
    postgresql: PostgreSQLServer,
    mode: Literal["fast", "immediate"],
    seconds: float,
) -> None:
    study, workers = middle
    postgresql.stop(mode)
    try:
        time.sleep(seconds)
        assert [worker.poll() for worker in workers] == [None] * N_WORKERS
    finally:
        postgresql.start()
    assert_nothing_lost(study, workers)


@pytest.mark.slow
def test_sqlite_locked_by_another_process_for_half_a_minute(
    middle: tuple[SmallStudy, list[StartedProcess]], tmp_path: Path
) -> None:
    study, workers = middle
    with write_lock_held(tmp_path / "study.db"):
        n_said = len(epochs_said(*workers))
        time.sleep(30)
        assert [worker.poll() for worker in workers] == [None] * N_WORKERS
        assert len(epochs_said(*workers)) <= n_said + N_WORKERS  # the lock did hold them
    assert_nothing_lost(study, workers)


@pytest.mark.slow
@requires_postgresql
@pytest.mark.parametrize("study", ["postgresql"], indirect=True)
def test_postgresql_that_hangs_for_a_while_is_waited_for(
    study: SmallStudy, postgresql: PostgreSQLServer
) -> None:
    study = study.with_settings(
        search={"n_epochs": N_EPOCHS}, optimization={"batch_size": 2}
    ).init()
    with CuttingProxy(postgresql.port) as proxy:
        worker = study.start_worker(
            url=study.url.replace(f":{postgresql.port}/", f":{proxy.port}/")
        )
        worker.wait_for_epoch(2)
        with proxy.hanging():
            time.sleep(20)
            n_said = len(worker.epochs())
            assert n_said < N_EPOCHS
        assert worker.wait() == 0
    study.assert_whole(1)
    assert worker.epochs() == [(0, epoch) for epoch in range(1, N_EPOCHS + 1)]


@pytest.mark.slow
@requires_postgresql
@pytest.mark.parametrize("study", ["postgresql"], indirect=True)
def test_worker_started_while_postgresql_is_away_waits_for_it(
    study: SmallStudy, postgresql: PostgreSQLServer
) -> None:
    study.init()
    postgresql.stop()
    try:
        worker = study.start_worker()
        time.sleep(10)
        assert worker.poll() is None, worker.said()
    finally:
        postgresql.start()
    assert worker.wait() == 0
    study.assert_whole(1)


@contextmanager
def away(request: pytest.FixtureRequest, study: SmallStudy) -> Iterator[None]:
    """Let the database answer nobody within the context: stopped, or locked."""
    if study.url.startswith("sqlite"):
        with write_lock_held(study.folder / "study.db"):
            yield
        return
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    server.stop()
    try:
        yield
    finally:
        server.start()


@pytest.mark.slow
@on_both_databases
def test_outage_longer_than_the_tolerance_ends_the_worker_and_fails_no_trial(
    request: pytest.FixtureRequest, study: SmallStudy
) -> None:
    short = {"heartbeat_seconds": 0.5, "outage_seconds": 1.5, "grace_seconds": 3.0}
    study = study.with_settings(
        search={"n_epochs": 20}, optimization={"batch_size": 4}, storage=short
    ).init()
    worker = study.processes.start(
        *study.arguments("worker"),
        folder=study.folder,
        prelude="tests.resilience.preludes:wait_a_second_for_locks",
    )
    worker.wait_for_epoch(2)

    def has_given_up() -> bool:
        return worker.poll() is not None or "trial failed" in worker.errors.read_text()

    with away(request, study):
        wait_until(has_given_up, "its end")
    assert worker.wait(30) == 1, worker.said()
    last_line = worker.errors.read_text().splitlines()[-1]
    assert ": study: the database did not answer for too long" in last_line
    assert last_line.endswith("nothing is lost, the same command continues when it is back")
    (trial,) = study.trials()
    assert trial.state == TrialState.RUNNING
    assert "reason" not in trial.user_attrs

    second = study.work()
    assert second.epochs()[0][1] in (last := worker.epochs()[-1][1], last + 1)
    study.assert_whole(1)
    with opened(study.url) as handle:
        endings = read_endings(handle.database, [trial._trial_id])
    assert endings == {trial._trial_id: ["lost", "complete"]}
