"""Expected ends and the time of the newest epoch, for any trials."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dashboards.estimates import (
    newest_epoch_at,
    newest_epoch_of,
    seconds_remaining,
    trial_seconds_left,
)
from dashboards.trials import TrialRow
from storage.attempts import Attempt
from storage.owners import Owner

N_EPOCHS = 20
ME = Owner("node1", "a:b:1", 7, "1")


def row(epochs_done: int, seconds: float, state: str = "running", number: int = 0) -> TrialRow:
    return TrialRow(
        trial_id=number,
        number=number,
        slot=number,
        state=state,
        value=None,
        best_epoch=None,
        epochs_done=epochs_done,
        last_macro_f1=None,
        params={},
        reason=None,
        host=None,
        seconds=seconds,
        attributes={},
    )


def attempt(started_at: float, beat_at: float, epochs_at_start: int = 0) -> Attempt:
    return Attempt(0, 1, ME, started_at, beat_at, None, epochs_at_start)


@given(
    done=st.integers(0, N_EPOCHS),
    at_start=st.integers(0, N_EPOCHS),
    pace=st.floats(0.01, 1e4),
    since_start=st.floats(0, 1e6),
    since_beat=st.floats(0, 1e3),
)
def test_trial_never_ends_before_its_epochs_but_the_one_under_way(
    done: int, at_start: int, pace: float, since_start: float, since_beat: float
) -> None:
    now = 1e9
    running = row(done, done * pace)
    held = attempt(now - since_start - since_beat, now - since_beat, min(at_start, done))
    left = trial_seconds_left(running, held, n_epochs=N_EPOCHS, now=now, usual_pace=pace)
    assert left is not None
    longest = (N_EPOCHS - done) * pace
    assert max(0.0, longest - pace) * 0.999 <= left <= longest * 1.001
    assert held.started_at <= newest_epoch_of(running, held) <= held.beat_at


def test_trial_without_any_epoch_of_the_study_has_no_expected_end() -> None:
    held = attempt(0.0, 0.0)
    assert trial_seconds_left(row(0, 0), held, n_epochs=9, now=5.0, usual_pace=None) is None


def test_epoch_under_way_is_subtracted() -> None:
    held = attempt(100.0, 125.0)
    # Two epochs of 10 s ended at 120, so the third has lasted for 5 s.
    left = trial_seconds_left(row(2, 20.0), held, n_epochs=4, now=125.0, usual_pace=1.0)
    assert left == 15.0


def test_attempt_that_adds_no_epoch_is_no_progress() -> None:
    first = replace(attempt(0.0, 50.0), ending="lost")
    fruitless = replace(attempt(100.0, 160.0, epochs_at_start=3), attempt=2, ending="lost")
    now = replace(attempt(200.0, 260.0, epochs_at_start=3), attempt=3)
    attempts = {0: [first, fruitless, now]}
    assert newest_epoch_at([row(3, 30.0)], attempts) == 50.0
    assert newest_epoch_at([row(4, 40.0)], attempts) == 210.0
    assert newest_epoch_at([row(0, 0.0)], {}) is None


def test_remaining_time_before_a_trial_is_finished_counts_whole_trials() -> None:
    rows = [row(2, 20.0), row(0, 0.0, "waiting", 1)]
    assert seconds_remaining(rows, n_epochs=4, n_workers=1) == 20.0 + 40.0
    assert seconds_remaining(rows, n_epochs=4, n_workers=2) == 30.0
    assert seconds_remaining(rows[1:], n_epochs=4, n_workers=1) is None
