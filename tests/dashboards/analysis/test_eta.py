"""Expected ends and the time of the newest epoch, for any trials."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from dashboards.analysis.eta import (
    newest_epoch_of,
    seconds_remaining,
    trial_seconds_left,
)
from dashboards.analysis.spending import Spending
from storage.attempts import Attempt
from storage.process_identity import Owner
from storage.study_totals import Totals
from storage.trial_rows import TrialRow
from tests.dashboards.statuses import build_row

N_EPOCHS = 20
ME = Owner("node1", "a:b:1", 7, "1")


def row(epochs_done: int, seconds: float, state: str = "running", number: int = 0) -> TrialRow:
    return build_row(number, state=state, epochs_done=epochs_done, seconds=seconds)


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


def test_remaining_time_before_a_trial_is_finished_counts_whole_trials() -> None:
    running = Totals(TrialState.RUNNING, False, n_trials=1, n_begun=1, n_epochs=2, seconds=20.0)
    waiting = Totals(TrialState.WAITING, False, n_trials=1, n_begun=0, n_epochs=0, seconds=0.0)
    both, two = [running, waiting], Spending("trials", 2, 0, is_spent=False)
    assert seconds_remaining(both, two, n_epochs=4, n_workers=1) == 20.0 + 40.0
    assert seconds_remaining(both, two, n_epochs=4, n_workers=2) == 30.0
    assert seconds_remaining([waiting], two, n_epochs=4, n_workers=1) is None


def test_remaining_time_counts_a_paused_trial_as_one_that_trains_no_more() -> None:
    complete = Totals(TrialState.COMPLETE, False, n_trials=1, n_begun=1, n_epochs=8, seconds=80.0)
    waiting = Totals(TrialState.WAITING, False, n_trials=2, n_begun=0, n_epochs=0, seconds=0.0)
    paused = replace(waiting, n_trials=3, n_begun=3, n_epochs=4, seconds=40.0, is_paused=True)
    six = Spending("trials", 6, 1, is_spent=False)
    # Two wait, of which each takes 12 epochs / 4 trials, at 10 s.
    left = seconds_remaining([complete, waiting, paused], six, n_epochs=8, n_workers=1)
    assert left == pytest.approx(60.0)


def test_remaining_time_of_another_budget_is_what_is_left_of_it() -> None:
    running = Totals(TrialState.RUNNING, False, n_trials=1, n_begun=1, n_epochs=30, seconds=60.0)
    epochs = Spending("epochs", 100, 30, is_spent=False)
    hours = Spending("hours", 2.0, 0.5, is_spent=False)
    assert seconds_remaining([running], epochs, n_epochs=40, n_workers=2) == 70.0
    assert seconds_remaining([running], hours, n_epochs=40, n_workers=2) == 0.75 * 3600
    over = [replace(running, state=TrialState.COMPLETE)]
    rest = replace(epochs, spent=95, is_spent=True)
    assert seconds_remaining(over, rest, n_epochs=40, n_workers=2) == 0.0
