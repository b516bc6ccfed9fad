"""The status that is drawn again and again, and the readings behind it."""

import io
import re
import threading
import time
from dataclasses import fields, replace
from datetime import datetime

import pytest
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import OperationalError

from dashboards.analysis.confirmation_status import ConfirmationRunStatus, ConfirmationStatus
from dashboards.analysis.final_run_status import FinalRunStatus
from dashboards.analysis.status import (
    EarlyEnd,
    ReasonCount,
    StudyStatus,
    read_status,
)
from dashboards.analysis.timed_read import TimedReader
from dashboards.terminal.status import clean_line, status_line, status_table
from dashboards.terminal.watch import Screen, StatusView, watch_status
from storage.errors import DatabaseAwayError, StudyNotFoundError
from storage.leases import LOST, acquire, end, held_leases
from storage.process_identity import Owner
from storage.study_storage import StudyStorage
from tests.dashboards.conftest import STUDY_NAME
from tests.dashboards.statuses import example

AWAY = OperationalError("SELECT 1", None, Exception("connection refused\nIs it running?"))


def drawn(status: StudyStatus, width: int = 80, **how: object) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(status_table(status, **how))  # type: ignore[arg-type]
    return capture.get()


@pytest.fixture
def running(searched_study: StudyStorage) -> StudyStatus:
    return read_status(searched_study, STUDY_NAME)


def watched(*looks: StudyStatus | Exception, every: float = 0.01) -> str:
    """Watch something that finds this, in turn; return everything that the terminal got."""
    turns = iter(looks)

    def read() -> StudyStatus:
        look = next(turns)
        if isinstance(look, Exception):
            raise look
        return look

    console = Console(width=80, height=40, file=io.StringIO(), force_terminal=True)
    watch_status(read, every_seconds=every, footer="a baseline", console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def over(status: StudyStatus) -> StudyStatus:
    return replace(status, waiting=0, running=0, complete=6, running_trials=())


def test_watch_goes_on_while_a_worker_confirms_the_winner(running: StudyStatus) -> None:
    run = ConfirmationRunStatus(
        number=1,
        role="candidate",
        searched_trial=1,
        state="running",
        host="node1",
        pid=7,
        beat_age_seconds=1.0,
        epoch=1,
        n_epochs=4,
        macro_f1=None,
        seconds_left=30.0,
    )
    nothing = dict.fromkeys(field.name for field in fields(ConfirmationStatus))
    known = {"sentences": ("not confirmed: so far",), "is_over": False, "runs": (run,)}
    confirming = replace(over(running), confirmation=ConfirmationStatus(**{**nothing, **known}))
    left = watched(confirming, over(running)).split("\x1b[?1049l")[1]
    assert "confirmation" not in left
    stale = replace(run, beat_age_seconds=1e6)
    known["runs"] = (stale,)
    stopped = replace(over(running), confirmation=ConfirmationStatus(**{**nothing, **known}))
    assert "no worker is active" in watched(stopped).split("\x1b[?1049l")[1]


def test_watch_ends_with_the_study_and_leaves_its_last_view(running: StudyStatus) -> None:
    text = watched(running, over(running))
    own_screen, left = text.split("\x1b[?1049l")
    assert "Ctrl-C ends the watch" in own_screen and "1 waiting" in own_screen
    assert "0 waiting" in left and "a baseline" in left and "Ctrl-C" not in left


def test_watch_goes_on_through_an_outage_and_says_since_when(running: StudyStatus) -> None:
    text = watched(running, AWAY, AWAY, over(running))
    away = text.index("database away since")
    assert "retrying (connection refused)" in text[away : away + 100]
    assert "Is it running" not in text
    assert text.rindex("0 waiting") > away


@given(
    n_running=st.integers(0, 30),
    height=st.integers(6, 60),
    host=st.text(min_size=1, max_size=90),
    reason=st.text(max_size=300),
)
@settings(max_examples=25)
@case(n_running=3, height=24, host="gpu-node-with-a-long-name-0.cluster", reason="no answer")
def test_last_line_is_on_the_screen_however_much_is_above_it(
    n_running: int, height: int, host: str, reason: str
) -> None:
    (trial,) = example().running_trials
    trials = (replace(trial, host=host, attempt=2),) * n_running
    status = replace(example(), running=n_running, running_trials=trials, lost_attempts=3)
    line = Text(f"away {clean_line(reason)} end")
    view = StatusView(status, datetime.now(), "a baseline")
    console = Console(width=80, height=height, file=io.StringIO(), force_terminal=False)
    lines = console.render_lines(Screen(view, line))
    text = ["".join(part.text for part in each) for each in lines]
    assert len(text) <= height and text[0].startswith("pets") and "end" in text[-1]
    n_shown = sum("123456" in each for each in text)
    assert n_shown <= n_running
    if height >= 24:
        assert any("baseline" in each for each in text)
        assert n_shown == n_running or len(text) == height


def test_watch_of_a_study_that_is_gone_ends_with_that_error(running: StudyStatus) -> None:
    with pytest.raises(StudyNotFoundError, match="gone"):
        watched(running, StudyNotFoundError("gone"))


def test_look_at_a_database_that_hangs_comes_back_in_time_and_later_finds_the_answer() -> None:
    answer = threading.Event()
    n_readings = 0

    def read() -> int:
        nonlocal n_readings
        n_readings += 1
        answer.wait(10)
        return n_readings

    reader = TimedReader(read)
    begin = time.monotonic()
    for _ in range(2):
        with pytest.raises(DatabaseAwayError, match=r"no answer within 0.05 s"):
            reader.read(0.05)
    assert time.monotonic() - begin < 5 and n_readings == 1
    answer.set()
    assert reader.read(5) in (1, 2)
    assert reader.read(5) == n_readings


def test_look_that_meets_a_mistake_of_ours_raises_it() -> None:
    reader = TimedReader[None](lambda: (_ for _ in ()).throw(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError):
        reader.read(5)


def test_speed_and_ends_follow_the_newest_epochs(
    searched_study: StudyStorage, running: StudyStatus
) -> None:
    (trial,) = running.running_trials
    assert (trial.images_per_second, trial.epoch_seconds) == (900.0, 10.0)
    assert (running.images_per_second, running.epochs_per_hour) == (900.0, 360.0)
    # Three epochs of 10 s are left, and the next has begun at most 10 s ago.
    assert trial.seconds_left is not None and 20 <= trial.seconds_left <= 30
    assert trial.attempt == 1


def test_trial_of_a_stale_worker_has_no_expected_end_and_counts_for_no_speed(
    searched_study: StudyStorage,
) -> None:
    with searched_study.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE attempts SET beat_at = beat_at - 36000")
    status = read_status(searched_study, STUDY_NAME)
    assert (status.images_per_second, status.epochs_per_hour) == (0.0, 0.0)
    assert "no speed is known yet" in drawn(status) and "10.0 h ago" in drawn(status)
    (trial,) = status.running_trials
    assert trial.host is not None and trial.seconds_left is None
    assert "to go by the clock with one worker\n      no worker is active\n" in drawn(status)
    assert "until" not in drawn(status)
    assert status.as_json()["seconds_remaining"] > 0


def test_time_line_tells_a_study_of_live_workers_from_one_that_waits_for_them(
    running: StudyStatus, empty_study: StudyStorage
) -> None:
    noon = datetime(2026, 3, 4, 12, 0)  # at midnight the end would have the name of its day
    assert re.search(
        r"of worker time; about .+ to go by the clock, until \d\d:\d\d", drawn(running, now=noon)
    )
    waiting = drawn(read_status(empty_study, STUDY_NAME))
    assert "time: 0 s of worker time; time to go unknown yet\n      no worker trains (" in waiting
    assert "nothing to go" in drawn(over(running)) and "is active" not in drawn(over(running))


@pytest.mark.parametrize(
    ("n_starting", "said"), [(0, None), (1, "1 worker is starting"), (2, "2 workers are starting")]
)
def test_workers_that_start_are_no_missing_workers(
    running: StudyStatus, empty_study: StudyStorage, n_starting: int, said: str | None
) -> None:
    new = read_status(empty_study, STUDY_NAME)
    for status in (running, new):
        text = drawn(status, n_starting=n_starting)
        assert "no worker" not in text
        assert ("starting" in text) == (said is not None) and (said or "") in text
    line = status_line(new, n_starting=n_starting)
    assert (
        line == f"0/6 done, 0 running, {f'{n_starting} starting, ' if said else ''}no result yet"
    )


FINAL = FinalRunStatus(
    number=1,
    is_first=True,
    role="winner",
    seed=77,
    searched_trial=4,
    state="running",
    host="node1",
    pid=7,
    beat_age_seconds=2.0,
    epoch=7,
    n_epochs=30,
    validation_macro_f1=0.7712,
    seconds_left=90.0,
    test_macro_f1=None,
    test_accuracy=None,
)


def test_final_runs_are_shown_with_epoch_end_and_test() -> None:
    tested = replace(
        FINAL,
        state="complete",
        epoch=30,
        host=None,
        pid=None,
        beat_age_seconds=None,
        seconds_left=None,
        test_macro_f1=0.75,
        test_accuracy=0.76,
    )
    noon = datetime(2026, 3, 4, 12, 0)

    def said(run: FinalRunStatus) -> list[str]:
        lines = drawn(replace(example(), final_runs=(run,)), now=noon).splitlines()
        return lines[lines.index(next(line for line in lines if line.startswith("final run"))) :]

    assert said(FINAL) == [
        "final run 1 of trial 4: running, epoch 7/30, about 90 s to go, until 12:01:30",
        "      winner, seed 77; validation macro-F1 0.7712",
    ]
    assert said(tested) == [
        "final run 1 of trial 4: complete, epoch 30/30",
        "      winner, seed 77; validation macro-F1 0.7712",
        "      test macro-F1 0.7500, accuracy 0.7600",
    ]
    control = said(replace(FINAL, role="control", seed=None, searched_trial=-1))
    assert control[0].startswith("final run 1: running")
    assert control[1] == "      control; validation macro-F1 0.7712"
    assert said(replace(tested, test_macro_f1=None))[1].endswith("; not tested yet")
    stale = replace(FINAL, beat_age_seconds=999.0, seconds_left=None)
    assert said(stale)[0].endswith("epoch 7/30, no worker is active")


def test_watch_goes_on_while_a_final_run_is_trained(running: StudyStatus) -> None:
    trained = replace(over(running), final_runs=(FINAL,))
    text = watched(trained, trained, over(running))  # which reads all three
    assert text.split("\x1b[?1049l")[1].count("final run") == 0


def test_lost_worker_is_counted_and_the_next_attempt_shown(searched_study: StudyStorage) -> None:
    database = searched_study.database
    (lost,) = held_leases(database).values()
    taken = acquire(database, lost.trial_id, replace(Owner.current(), pid=1, host="b"), lost=lost)
    assert taken is not None
    status = read_status(searched_study, STUDY_NAME)
    assert (status.lost_attempts, status.running_trials[0].attempt) == (1, 2)
    text = drawn(status, width=120)
    assert "once a worker was lost" in text and "b (attempt 2)" in text
    end(database, taken, LOST)
    status = read_status(searched_study, STUDY_NAME)
    assert status.running_trials[0].host is None
    assert "twice a worker was lost" in drawn(status) and "nobody" in drawn(status)


def test_early_ends_are_counted_by_reason_and_shown_newest_first(running: StudyStatus) -> None:
    assert running.reasons == (
        ReasonCount("pruned", "pruned", 1),
        ReasonCount("failed", "exception", 1),
    )
    assert running.newest_early_ends[0] == EarlyEnd(
        3, "failed", 0, "exception", "<b>no memory</b>"
    )
    text = drawn(running)
    assert "pruned: 1 by the pruner\nfailed: 1 exception\n  trial 3 failed after epoch 0" in text


@pytest.mark.parametrize("width", [80, 160])
@given(host=st.text(min_size=1), message=st.text())
def test_drawing_of_any_texts_is_printable_and_no_wider_than_the_terminal(
    width: int, host: str, message: str
) -> None:
    status = example()
    trial = replace(status.running_trials[0], host=host)
    ended = EarlyEnd(3, "failed", 0, "exception", message)
    text = drawn(replace(status, running_trials=(trial,), newest_early_ends=(ended,)), width=width)
    assert all(each == "\n" or each.isprintable() for each in text)
    assert "process" in text


def test_rows_beyond_the_terminal_are_counted(running: StudyStatus) -> None:
    (trial,) = running.running_trials
    many = replace(running, running=9, running_trials=(trial,) * 9)
    assert "and 6 more" in drawn(many, most_running=3)
    assert "more" not in drawn(many, most_running=9)


@given(st.text())
def test_clean_line_is_one_line_without_control_characters(text: str) -> None:
    assert clean_line(text) == "" or clean_line(text).isprintable()
