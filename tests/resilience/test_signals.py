import signal
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from study.cli import app
from tests.postgresql import PostgreSQLServer, requires_postgresql
from tests.resilience.conftest import on_both_databases
from tests.tools.cutting_proxy import CuttingProxy
from tests.tools.processes import StartedProcess
from tests.tools.studies import SmallStudy, epochs_said
from tests.tools.write_lock import write_lock_held

LONGEST_GOODBYE_SECONDS = 10.0
knows_stop_after = any("--stop-after" in option.opts for option in app.commands["worker"].params)


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
    straight = study.elsewhere("straight").init()
    straight.work()
    assert study.run_sha256(0) == straight.run_sha256(0)


@pytest.mark.slow
@on_both_databases
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT], ids=str)
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
@on_both_databases
def test_second_signal_ends_at_once_and_loses_at_most_the_epoch(slow_study: SmallStudy) -> None:
    worker = slow_study.start_worker()
    worker.wait_for_epoch(2)
    worker.send_signal(signal.SIGSTOP)  # so that it receives both at once
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGUSR1)
    worker.send_signal(signal.SIGCONT)
    assert worker.wait(2) > 128
    last = worker.epochs()[-1][1]
    second = slow_study.work()
    slow_study.assert_whole(1)
    assert second.epochs()[0][1] in (last, last + 1)


@pytest.mark.slow
@on_both_databases
@pytest.mark.skipif(not knows_stop_after, reason="`study worker` has no --stop-after yet")
def test_stop_after_ends_between_two_epochs_within_the_time(study: SmallStudy) -> None:
    study = study.with_settings(search={"n_epochs": 20}, optimization={"batch_size": 1}).init()
    start = time.monotonic()
    worker = study.start_worker("--stop-after", "4s")
    assert worker.wait(4 + LONGEST_GOODBYE_SECONDS) == 0
    seconds = time.monotonic() - start
    print(f"--stop-after 4s: exit 0 after {seconds:.2f} s, {len(worker.epochs())} epochs")
    assert worker.epochs()
    assert seconds < 5  # no epoch was begun that could not be brought to its checkpoint
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
