"""The log of a worker, read as its user does."""

import re
import signal
import socket
from dataclasses import replace

import pytest

from storage.leases import acquire_waiting
from storage.process_identity import Owner
from study.configuration.config import validated
from study.creation.create import initialise
from study.log_lines import stamp_lines
from study.progress import EpochProgress
from study.session.session import StudySession
from study.stop_signal import StopFlag
from study.workers.worker import Worker


def work(session: StudySession, stop: StopFlag | None = None, **options: bool) -> None:
    with EpochProgress(kind="trial", n_epochs=session.config.search.n_epochs) as announce:
        Worker(
            session,
            session.prepare_data(),
            stop=stop or StopFlag(),
            announce=announce,
            **options,
        ).work()


def test_log_says_what_was_done_and_why_the_worker_left(
    tiny_settings: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_settings |= {"search": {"budget": {"trials": 1}, "n_epochs": 2, "pruner": "none"}}
    session = initialise(validated(tiny_settings))
    stamp_lines()
    work(session)
    lines = capsys.readouterr().out.splitlines()
    here = re.escape(socket.gethostname())
    attempt = "trial 0 attempt 1"
    expected = [
        f"{attempt}: claimed",
        rf"{attempt} epoch 1/2: validation macro-F1 [\d.]+, loss [\d.]+, \d+ images/s, .* s left",
        rf"{attempt} epoch 2/2: validation macro-F1 .*",
        rf"{attempt} epoch 2/2: complete: best validation macro-F1 [\d.]+",
    ]
    for line, text in zip(lines[:-1], expected, strict=True):
        assert re.fullmatch(rf"\S+ \S+ {here}:\d+ {text}", line), line
    assert lines[-1].endswith(": leaves: nothing waits and nothing runs: the budget is spent")


def test_log_names_the_worker_that_lost_a_reclaimed_trial(
    tiny_settings: dict[str, object],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    tiny_settings |= {"search": {"budget": {"trials": 1}, "n_epochs": 1, "pruner": "none"}}
    session = initialise(validated(tiny_settings))
    dead = replace(Owner.current(), pid=2**22 + 1, started="1")
    database = session.storage_handle.database
    assert acquire_waiting(database, session.optuna_study()._study_id, dead, last=set())
    stamp_lines()
    caplog.set_level("INFO", "study")
    work(session)
    (said,) = [one.getMessage() for one in caplog.records if "reclaimed" in one.getMessage()]
    assert re.fullmatch(
        rf"reclaimed trial 0 of a lost worker on {re.escape(dead.host)}, pid {dead.pid}: its last "
        r"heartbeat was \d+ s ago",
        said,
    )
    assert " trial 0 attempt 2: claimed\n" in capsys.readouterr().out


class Signalled(StopFlag):
    """A stop that a signal has set."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__()
        self._signalled, self._signal = True, number


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (Signalled(signal.SIGUSR1), "SIGUSR1 (the time limit of the Slurm task is near)"),
        (Signalled(signal.SIGTERM), "SIGTERM (`study run` or Slurm ends it: stopped, preempted"),
        (StopFlag(after_seconds=0), "the time of --stop-after is over"),
    ],
)
def test_log_says_what_stopped_the_worker(
    tiny_settings: dict[str, object],
    capsys: pytest.CaptureFixture[str],
    stop: StopFlag,
    reason: str,
) -> None:
    session = initialise(validated(tiny_settings))
    stamp_lines()
    work(session, stop)
    (line,) = capsys.readouterr().out.splitlines()
    assert f": leaves: {reason}" in line


def test_epoch_that_does_not_fit_is_the_reason() -> None:
    stop = StopFlag(after_seconds=60)
    assert not stop.leaves_time_for(lambda: 60.0)
    assert stop.reason == "another epoch would not end within --stop-after"
