"""What runs now, how long it will take, and how fast it goes: estimates from the epochs so far.

No epoch has a time of its own in the database. When the newest one ended is worked out from the
attempt that trained it: its claim and the durations of its epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from optuna.trial import TrialState

from dashboards.analysis.spending import Spending
from storage.attempts import Attempt
from storage.budget import SECONDS_PER_HOUR
from storage.optuna_rows import PAUSED
from storage.study_totals import Totals
from storage.trial_rows import TrialRow

STALE_SECONDS = 120.0
"""Age of a heartbeat after which its worker counts as stale; the default interval is 30 s."""
RESULTS = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class RunningTrial:
    """A trial under way and the worker that holds its lease.

    Attributes:
        host: Machine of the worker, None while no worker holds the lease.
        pid: Its process, likewise.
        attempt: 1 for the first worker that has had the trial, one more for each that has had it
            after a loss or a release; None while no worker holds the lease.
        beat_age_seconds: Time since the worker's last heartbeat, likewise.
        epoch: Epochs done; n_epochs is all of them.
        validation_macro_f1: Of the newest epoch.
        epoch_seconds: Duration of the newest epoch.
        images_per_second: Training images per second of training in the newest epoch.
        seconds_left: Estimated time until it has all its epochs, unless it is pruned; None
            while no worker holds the lease or its worker is stale, or before any epoch says how
            long one takes.
    """

    number: int
    host: str | None
    pid: int | None
    attempt: int | None
    beat_age_seconds: float | None
    epoch: int
    n_epochs: int
    validation_macro_f1: float | None
    epoch_seconds: float | None
    images_per_second: float | None
    seconds_left: float | None

    @property
    def is_alive(self) -> bool:
        """Whether the worker that holds its lease has a recent heartbeat."""
        return is_alive(self.beat_age_seconds)


def is_alive(beat_age_seconds: float | None) -> bool:
    """Return whether a heartbeat is recent, None being that of nobody."""
    return beat_age_seconds is not None and beat_age_seconds < STALE_SECONDS


def seconds_per_epoch(totals: Sequence[Totals]) -> float | None:
    """Return the mean duration of an epoch, None before the first."""
    n_epochs = sum(one.n_epochs for one in totals)
    return sum(one.seconds for one in totals) / n_epochs if n_epochs else None


def _pace(row: TrialRow) -> float | None:
    return row.seconds / row.epochs_done if row.epochs_done else None


def running_trial(
    row: TrialRow,
    attempts: Sequence[Attempt],
    *,
    n_epochs: int,
    now: float,
    usual_pace: float | None,
) -> RunningTrial:
    """Return a trial under way.

    Args:
        row: The trial.
        attempts: Every attempt at it, the earliest first.
        n_epochs: Epochs of a whole trial.
        now: The database's clock, in seconds since 1970.
        usual_pace: Seconds per epoch of the study, for a trial that has no epoch yet.
    """
    last = attempts[-1] if attempts else None
    held = last if last is not None and last.ending is None else None
    n_pauses = sum(one.ending == PAUSED for one in attempts)
    trial = RunningTrial(
        number=row.number,
        host=held.owner.host if held else None,
        pid=held.owner.pid if held else None,
        attempt=held.attempt - n_pauses if held else None,
        beat_age_seconds=max(0.0, now - held.beat_at) if held else None,
        epoch=row.epochs_done,
        n_epochs=n_epochs,
        validation_macro_f1=row.last_macro_f1,
        epoch_seconds=row.newest.seconds if row.newest else None,
        images_per_second=row.newest.images_per_second if row.newest else None,
        seconds_left=None,
    )
    if held is None or not trial.is_alive:
        return trial
    left = trial_seconds_left(row, held, n_epochs=n_epochs, now=now, usual_pace=usual_pace)
    return replace(trial, seconds_left=left)


def trial_seconds_left(
    row: TrialRow,
    attempt: Attempt,
    *,
    n_epochs: int,
    now: float,
    usual_pace: float | None,
) -> float | None:
    """Return the time until a trial has all its epochs, None where no epoch says how long.

    Args:
        row: The trial, which runs.
        attempt: The attempt that trains it.
        n_epochs: Epochs of a whole trial.
        now: The database's clock, in seconds since 1970.
        usual_pace: Seconds per epoch of the study, for a trial that has no epoch yet.
    """
    pace = _pace(row) or usual_pace
    if pace is None:
        return None
    since_epoch = now - newest_epoch_of(row, attempt)
    # An epoch that takes longer than its pace may end any moment, but has not ended.
    return max(0.0, (n_epochs - row.epochs_done) * pace - min(max(since_epoch, 0.0), pace))


def newest_epoch_of(row: TrialRow, attempt: Attempt) -> float:
    """Return when the last attempt at a trial recorded an epoch, or else began.

    Early by what was spent besides training and validation, never later than the last heartbeat.
    """
    epochs_here = row.epochs_done - attempt.epochs_at_start
    if epochs_here <= 0:
        return attempt.started_at
    seconds_here = epochs_here * (_pace(row) or 0.0)
    return min(attempt.beat_at, attempt.started_at + seconds_here)


def seconds_remaining(
    totals: Sequence[Totals], spending: Spending, *, n_epochs: int, n_workers: int
) -> float | None:
    """Return the time until the budget is spent, None before the first epoch.

    Of a budget in trials, from the mean time of finished trials (pruned and paused ones included)
    and of their epochs; before one is finished, from the epochs so far. A paused trial counts as
    finished, for most train no more. Of the others, from what is left of it.

    Args:
        totals: Of all trials of the study.
        spending: What of its budget is spent.
        n_epochs: Epochs of a whole trial.
        n_workers: Workers that share what is left; 0 counts as one.
    """
    is_settled = all(one.state.is_finished() for one in totals)
    if totals and is_settled and spending.is_spent:
        return 0.0
    settled = [one for one in totals if (one.state in RESULTS or one.is_paused) and one.n_begun]
    epoch_seconds = seconds_per_epoch(settled or totals)
    if epoch_seconds is None:
        return None
    if spending.unit == "hours":
        return spending.left * SECONDS_PER_HOUR / max(1, n_workers)
    if spending.unit == "epochs":
        return spending.left * epoch_seconds / max(1, n_workers)
    n_settled = sum(one.n_begun for one in settled)
    usual = sum(one.n_epochs for one in settled) / n_settled if n_settled else n_epochs
    epochs_left = sum(
        one.n_begun * n_epochs - one.n_epochs + (one.n_trials - one.n_begun) * usual
        for one in totals
        if not (one.state.is_finished() or one.is_paused)
    )
    return epochs_left * epoch_seconds / max(1, n_workers)
