import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from optuna.trial import TrialState

from storage.leases import read_endings
from storage.records import read_epochs
from study.stop_signal import INTERRUPTED, LAUNCHER_GRACE_SECONDS, LAUNCHER_PID
from tests.postgresql import PostgreSQLServer, requires_postgresql
from tests.resilience.conftest import on_both_databases
from tests.tools.cutting_proxy import CuttingProxy
from tests.tools.processes import EPOCH_LINE, StartedProcess, wait_until
from tests.tools.studies import SmallStudy, epochs_said, opened
from tests.tools.write_lock import write_lock_held

LONGEST_GOODBYE_SECONDS = 10.0

# Which signal it was makes no difference to a database.
any_signal_to_both_databases = pytest.mark.parametrize(
    ("study", "number"),
    [
        ("sqlite", signal.SIGTERM),
        ("sqlite", signal.SIGUSR1),
        ("sqlite", signal.SIGINT),
        ("sqlite", signal.SIGHUP),
        pytest.param("postgresql", signal.SIGTERM, marks=requires_postgresql),
    ],
    indirect=["study"],
    ids=str,
)


@pytest.fixture
def slow_study(study: SmallStudy) -> SmallStudy:
    """One trial of six epochs of a second each."""
    return study.with_settings(search={"n_epochs": 6}, optimization={"batch_size": 1}).init()


def assert_resumed_as_if_never_stopped(study: SmallStudy, stopped: StartedProcess) -> None:
    """Check that the trial waits, then that another worker brings it to the end it would have."""
    (trial,) = study.trials()
    said = [epoch for _, epoch in stopped.epochs()]
    assert trial.state == TrialState.WAITING
    assert sorted(trial.intermediate_values) == said  # whole epochs, and no other
    second = study.work()
    study.assert_whole(1)
    n_epochs = study.settings["search"]["n_epochs"]
    assert epochs_said(stopped, second) == [(0, epoch) for epoch in range(1, n_epochs + 1)]
    straight = study.straight()
    assert study.run_sha256(0) == straight.run_sha256(0)


@pytest.mark.slow
@any_signal_to_both_databases
def test_signal_within_an_epoch_gives_the_trial_back(
    slow_study: SmallStudy, number: signal.Signals
) -> None:
    worker = slow_study.start_worker()
    worker.wait_for_epoch(2)
    time.sleep(0.4)
    start = time.monotonic()
    worker.send_signal(number)
    assert worker.wait(LONGEST_GOODBYE_SECONDS) == 0
    print(f"{number.name}: exit 0 after {time.monotonic() - start:.2f} s")
    assert_resumed_as_if_never_stopped(slow_study, worker)


@pytest.mark.slow
def test_interrupted_replay_ends_with_130_and_changes_nothing(slow_study: SmallStudy) -> None:
    slow_study.work()
    before = slow_study.trials()
    replay = slow_study.processes.start(
        "replay", "0", "--storage", slow_study.url, folder=slow_study.folder
    )
    wait_until(lambda: "replay of trial 0 epoch 1/6" in replay.said(), "the first epoch")
    replay.send_signal(signal.SIGINT)
    assert replay.wait(LONGEST_GOODBYE_SECONDS) == INTERRUPTED
    assert "stopped: nothing is lost" in replay.said() and "identical" not in replay.said()
    assert slow_study.trials() == before


@pytest.mark.slow
@on_both_databases
def test_second_signal_ends_at_once_and_loses_at_most_the_epoch(slow_study: SmallStudy) -> None:
    worker = slow_study.start_worker()
    worker.wait_for_epoch(2)
    worker.send_signal(signal.SIGSTOP)  # so that it receives both at once
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGUSR1)
    worker.send_signal(signal.SIGCONT)
    assert worker.wait(LONGEST_GOODBYE_SECONDS) > 128
    last = worker.epochs()[-1][1]
    second = slow_study.work()
    slow_study.assert_whole(1)
    assert second.epochs()[0][1] in (last, last + 1)


def end_of_worker_that_hears(
    study: SmallStudy, numbers: Sequence[signal.Signals], *, environment: Mapping[str, str]
) -> int:
    """Send signals in the middle of an epoch, so that a worker hears all of them at once."""
    arguments = study.arguments("worker")
    worker = study.processes.start(*arguments, folder=study.folder, environment=environment)
    worker.wait_for_epoch(1)
    worker.send_signal(signal.SIGSTOP)
    for number in numbers:
        worker.send_signal(number)
    worker.send_signal(signal.SIGCONT)
    return worker.wait(LONGEST_GOODBYE_SECONDS)


@pytest.mark.slow
def test_launched_worker_is_forgiven_one_signal_more_than_another(study: SmallStudy) -> None:
    study = study.with_settings(search={"n_epochs": 12}, optimization={"batch_size": 2}).init()
    launched = {LAUNCHER_PID: str(study.processes.pid)}  # the parent of every process here
    ends: list[tuple[int, TrialState]] = []
    for environment, n_signals in ((launched, 2), ({}, 1), ({}, 2)):
        numbers = (signal.SIGTERM, signal.SIGUSR1)[:n_signals]
        exit_code = end_of_worker_that_hears(study, numbers, environment=environment)
        (trial,) = study.trials()
        ends.append((min(exit_code, 128), trial.state))
    in_order, at_once = (0, TrialState.WAITING), (128, TrialState.RUNNING)
    assert ends == [in_order, in_order, at_once]
    study.work()
    study.assert_whole(1)


def is_terminated(pid: int) -> bool:
    """Return whether a stopped process has a SIGTERM to hear."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = int(status.partition("ShdPnd:")[2].split()[0], 16)
    return bool(pending & 1 << signal.SIGTERM - 1)


@pytest.mark.slow
@any_signal_to_both_databases
def test_signal_to_the_whole_group_of_launcher_and_workers_fails_nothing(
    study: SmallStudy, number: signal.Signals
) -> None:
    study = study.with_settings(
        search={"budget": {"trials": 3}, "n_epochs": 1000},
        optimization={"batch_size": 2},
        workers={"n_workers": 2},
    )
    launcher = study.processes.start(
        *study.arguments("run"),
        folder=study.folder,
        prelude="tests.resilience.preludes:lead_a_process_group",
    )
    logs = study.runs / "small" / "logs"

    def all_train() -> bool:
        assert launcher.poll() is None, launcher.said()
        said = [EPOCH_LINE.search(path.read_text()) for path in logs.glob("*.log")]
        return len(said) == 2 and all(said)

    wait_until(all_train, "an epoch of both workers", seconds=120)
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text()
    workers = [int(pid) for pid in children.split()]
    assert len(workers) == 2
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)  # until the launcher's signal has come to that of the group
    os.killpg(launcher.pid, number)
    wait_until(lambda: all(map(is_terminated, workers)), "the launcher's signal")
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    assert launcher.wait(LAUNCHER_GRACE_SECONDS) == INTERRUPTED, launcher.said()
    last = launcher.errors.read_text().splitlines()[-1]
    assert last == "study: stopped with 3 trials to go: the same command continues"
    trials = study.trials()
    assert [trial.state for trial in trials] == [TrialState.WAITING] * 3
    with opened(study.url) as handle:
        endings = read_endings(handle.database, [trial._trial_id for trial in trials])
    assert sorted(endings.values()) == [["preempted"]] * 2
    follower = study.start_worker()
    follower.wait_for_epoch(2)
    follower.kill()
    assert follower.epochs()[0][1] > 1


@pytest.mark.slow
@requires_postgresql
@pytest.mark.parametrize("study", ["postgresql"], indirect=True)
def test_sigterm_after_the_connections_were_cut_gives_the_trial_back(
    study: SmallStudy, postgresql: PostgreSQLServer
) -> None:
    patient = {"heartbeat_seconds": 30.0, "outage_seconds": 60.0, "grace_seconds": 150.0}
    study = study.with_settings(
        search={"n_epochs": 6}, optimization={"batch_size": 1}, storage=patient
    ).init()
    worker = study.start_worker()
    worker.wait_for_epoch(2)
    worker.send_signal(signal.SIGSTOP)
    postgresql.cut_connections(study.url)
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGCONT)
    assert worker.wait(LONGEST_GOODBYE_SECONDS) == 0
    assert_resumed_as_if_never_stopped(study, worker)


@pytest.mark.slow
@on_both_databases
def test_stop_after_ends_between_two_epochs_within_the_time(study: SmallStudy) -> None:
    study = study.with_settings(search={"n_epochs": 20}, optimization={"batch_size": 1}).init()
    start = time.monotonic()
    worker = study.start_worker("--stop-after", "4s")
    assert worker.wait(4 + LONGEST_GOODBYE_SECONDS) == 0
    seconds = time.monotonic() - start
    print(f"--stop-after 4s: exit 0 after {seconds:.2f} s, {len(worker.epochs())} epochs")
    (trial,) = study.trials()
    with opened(study.url) as handle:
        (records,) = read_epochs(handle.database, [trial._trial_id]).values()
    # No epoch was begun that would not end in time, save that one may last longer than any before.
    assert seconds < 5 + max(record.seconds for record in records)
    assert_resumed_as_if_never_stopped(study, worker)


@pytest.mark.slow
@requires_postgresql
@pytest.mark.parametrize("study", ["postgresql"], indirect=True)
def test_sigterm_while_the_database_hangs(
    slow_study: SmallStudy, postgresql: PostgreSQLServer
) -> None:
    with CuttingProxy(postgresql.port) as proxy:
        url = slow_study.url.replace(f":{postgresql.port}/", f":{proxy.port}/")
        worker = slow_study.start_worker(url=url)
        worker.wait_for_epoch(2)
        with proxy.hanging():
            time.sleep(4)
            start = time.monotonic()
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(LONGEST_GOODBYE_SECONDS) == 0
            print(f"SIGTERM, the database hung: exit 0 after {time.monotonic() - start:.2f} s")
    slow_study.work()
    slow_study.assert_whole(1)


@pytest.mark.slow
@requires_postgresql
@pytest.mark.parametrize("study", ["postgresql"], indirect=True)
def test_sigterm_while_the_database_is_away(
    slow_study: SmallStudy, postgresql: PostgreSQLServer
) -> None:
    worker = slow_study.start_worker()
    worker.wait_for_epoch(2)
    postgresql.stop()
    try:
        time.sleep(4)  # several epochs' time: it can only be waiting for the database
        start = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(LONGEST_GOODBYE_SECONDS) == 0
        print(f"SIGTERM without a database: exit 0 after {time.monotonic() - start:.2f} s")
    finally:
        postgresql.start()
    second = slow_study.work()
    slow_study.assert_whole(1)
    said = epochs_said(worker, second)
    assert set(said) == {(0, epoch) for epoch in range(1, 7)}
    assert len(said) <= 7  # at most the epoch that could not be recorded was trained twice


@pytest.mark.slow
def test_sigterm_while_sqlite_is_locked(slow_study: SmallStudy, tmp_path: Path) -> None:
    worker = slow_study.start_worker()
    worker.wait_for_epoch(2)
    with write_lock_held(tmp_path / "study.db"):
        time.sleep(4)
        start = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(LONGEST_GOODBYE_SECONDS) == 0
        print(f"SIGTERM, SQLite locked: exit 0 after {time.monotonic() - start:.2f} s")
    slow_study.work()
    slow_study.assert_whole(1)
