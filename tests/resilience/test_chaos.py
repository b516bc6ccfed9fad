import random
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from storage.leases import read_endings
from tests.resilience.chaos_points import (
    COUNTDOWNS,
    LATEST_PASSAGES,
    RELEASE,
    set_countdowns,
    struck,
)
from tests.resilience.conftest import on_both_databases
from tests.tools.audit import install_audit, read_audit
from tests.tools.processes import StartedProcess
from tests.tools.studies import SmallStudy, opened

N_TRIALS, N_EPOCHS, N_WORKERS = 30, 4, 4
N_RANDOM_KILLS, N_SIGNALS, LAST_SIGNAL = 8, 3, 0.7
LONGEST_SECONDS = 240.0
SETTINGS = {
    "heartbeat_seconds": 1.0,
    "outage_seconds": 60.0,
    "grace_seconds": 65.0,
    "max_retries": N_RANDOM_KILLS + len(LATEST_PASSAGES),  # all kills may strike the same trial
}


class Chaos:
    """Workers that are killed and started again until the budget is done."""

    def __init__(self, study: SmallStudy, *, seed: int) -> None:
        self.study = study
        self.random = random.Random(seed)
        self.countdowns = study.folder / "countdowns"
        self.countdowns.mkdir()
        set_countdowns(self.countdowns, self.random)
        self.processes: list[StartedProcess] = []
        self.random_kills = 0

    def start(self, command: str) -> StartedProcess:
        process = self.study.processes.start(
            *self.study.arguments(command),
            folder=self.study.folder,
            environment={COUNTDOWNS: str(self.countdowns)},
            prelude="tests.resilience.chaos_points:install",
        )
        self.processes.append(process)
        return process

    def init(self) -> None:
        """Let init be killed half-way, and do it again."""
        while (exit_code := self.start("init").wait()) != 0:
            assert exit_code == -signal.SIGKILL, self.processes[-1].said()
        assert struck(self.countdowns)["half-way through init"]

    def work(self) -> None:
        """Keep the workers running, and kill some, until all have left by themselves."""
        until = time.monotonic() + LONGEST_SECONDS
        workers = [self.start("worker") for _ in range(N_WORKERS)]
        signals = [signal.SIGKILL] * N_RANDOM_KILLS + [signal.SIGTERM] * N_SIGNALS
        self.random.shuffle(signals)
        # By epochs done and not by the clock, so that a fast machine is not done before the last.
        due = sorted(self.random.uniform(0.0, LAST_SIGNAL) for _ in signals)
        told_to_leave: set[int] = set()
        while workers:
            assert time.monotonic() < until, [worker.said() for worker in workers]
            for worker in list(workers):
                if (exit_code := worker.poll()) is None:
                    continue
                assert exit_code in (0, -signal.SIGKILL), worker.said()
                workers.remove(worker)
                if exit_code != 0 or worker.pid in told_to_leave:
                    workers.append(self.start("worker"))
            if signals and workers and self.share_done() >= due[0]:
                time.sleep(self.random.uniform(0.0, 0.2))
                # Told twice, a worker would end at once, with another exit code.
                others = [one for one in workers if one.pid not in told_to_leave]
                busy = [one for one in others if is_busy(one, signals[-1])]
                victim = self.random.choice(busy) if busy else None
                # A named point may kill it at any time.
                if victim and victim.send_signal_if_alive(signals[-1]):
                    del due[0]
                    told_to_leave.add(victim.pid)
                    self.random_kills += signals.pop() == signal.SIGKILL
            leaving = told_to_leave.intersection(worker.pid for worker in workers)
            if not signals and not leaving and not struck(self.countdowns)[RELEASE]:
                # Whoever had been told so far was between two trials.
                signals, due = [signal.SIGTERM], [0.0]
            time.sleep(0.02)
        assert not signals, "the study was over before all signals were sent"

    def share_done(self) -> float:
        """Return which share of all epochs has been seen done."""
        done = {epoch for process in self.processes for epoch in process.epochs()}
        return len(done) / (N_TRIALS * N_EPOCHS)

    def epochs_trained_twice(self) -> int:
        """Check that each attempt went on where the one before had its checkpoint."""
        lives: dict[int, list[list[int]]] = defaultdict(list)
        for process in self.processes:
            of_trial: dict[int, list[int]] = defaultdict(list)
            for trial, epoch in process.epochs():
                if of_trial[trial] and epoch != of_trial[trial][-1] + 1:
                    lives[trial].append(of_trial.pop(trial))
                of_trial[trial].append(epoch)
            for trial, epochs in of_trial.items():
                lives[trial].append(epochs)
        twice = 0
        for trial, segments in lives.items():
            segments.sort(key=lambda epochs: (epochs[0], epochs[-1]))
            last = 0
            for epochs in segments:
                assert epochs[0] in (last, last + 1), (trial, segments)
                twice += epochs[0] == last
                last = epochs[-1]
        return twice


def is_busy(worker: StartedProcess, number: signal.Signals) -> bool:
    """Return whether a worker has trained; if it is to release its trial, with epochs left."""
    epochs = worker.epochs()
    return bool(epochs) and (number == signal.SIGKILL or epochs[-1][1] < N_EPOCHS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@on_both_databases
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_budget_is_exact_whatever_is_killed(study: SmallStudy, seed: int) -> None:
    study = study.with_settings(
        search={"budget": {"trials": N_TRIALS}, "n_epochs": N_EPOCHS}, storage=SETTINGS
    )
    straight = study.straight()

    chaos = Chaos(study, seed=seed)
    start = time.monotonic()
    chaos.init()
    install_audit(study.url)
    chaos.work()
    seconds = time.monotonic() - start

    study.assert_whole(N_TRIALS)
    trials = study.trials()
    values = [trial.intermediate_values for trial in trials]
    assert values == [trial.intermediate_values for trial in straight.trials()]
    told, reported = read_audit(study.url)
    assert set(told.values()) == {1} and len(told) == N_TRIALS
    assert set(reported.values()) == {1} and len(reported) == N_EPOCHS * N_TRIALS
    twice = chaos.epochs_trained_twice()
    with opened(study.url) as handle:
        endings = read_endings(handle.database, [trial._trial_id for trial in trials])
    ended = Counter(ending for each in endings.values() for ending in each)
    has_struck = struck(chaos.countdowns)
    n_killed = sum(process.poll() == -signal.SIGKILL for process in chaos.processes)
    print(
        f"\nchaos, seed {seed}, {study.url.partition(':')[0]}, {seconds:.0f} s: "
        f"{n_killed} kills ({chaos.random_kills} at random moments, "
        f"{sum(has_struck.values())} at {len(has_struck)} named ones), "
        f"{ended['lost']} reclaimed, {ended['preempted']} released, "
        f"{twice} epochs trained twice, {len(told)} finished once, {len(reported)} reported once"
    )
    assert all(has_struck.values()), has_struck
    assert twice <= n_killed
    assert_nothing_is_left(study)


def assert_nothing_is_left(study: SmallStudy) -> None:
    """Check that the doctor, who may find what the last death left, finds it once."""
    place = ["--storage", study.url, "--runs", str(study.runs)]
    study.processes.run("doctor", "--repair", *place, folder=study.folder)
    study.processes.run("doctor", *place, folder=study.folder)
    assert not list(Path(study.runs).rglob("*.part"))
