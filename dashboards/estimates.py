"""How long it will take, and how fast it goes: estimates from the epochs so far.

No epoch has a time of its own in the database. When the newest one ended is worked out from the
attempt that trained it: its claim and the durations of its epochs.
"""

from collections.abc import Mapping, Sequence
from statistics import mean

from dashboards.trials import TrialRow
from storage.attempts import Attempt

Attempts = Mapping[int, Sequence[Attempt]]


def seconds_per_epoch(rows: Sequence[TrialRow]) -> float | None:
    """Return the mean duration of an epoch of the given trials, None before the first."""
    n_epochs = sum(row.epochs_done for row in rows)
    return sum(row.seconds for row in rows) / n_epochs if n_epochs else None


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
    pace = seconds_per_epoch([row]) or usual_pace
    if pace is None:
        return None
    since_epoch = now - newest_epoch_of(row, attempt)
    # An epoch that takes longer than its pace may end any moment, but has not ended.
    return max(0.0, (n_epochs - row.epochs_done) * pace - min(max(since_epoch, 0.0), pace))


def newest_epoch_of(row: TrialRow, attempt: Attempt) -> float:
    """Return when the last attempt at a trial recorded an epoch, or else began.

    Early by what was spent besides training and validation, never later than the last beat.
    """
    epochs_here = row.epochs_done - attempt.epochs_at_start
    if epochs_here <= 0:
        return attempt.started_at
    seconds_here = epochs_here * (seconds_per_epoch([row]) or 0.0)
    return min(attempt.beat_at, attempt.started_at + seconds_here)


def newest_epoch_at(rows: Sequence[TrialRow], attempts: Attempts) -> float | None:
    """Return about when the newest epoch of a study was recorded, None before the first."""
    times = [
        newest_epoch_of(row, attempt) if attempt.ending is None else attempt.beat_at
        for row in rows
        for attempt, epochs_after in _with_epochs_after(row, attempts.get(row.trial_id, ()))
        if epochs_after > attempt.epochs_at_start
    ]
    return max(times, default=None)


def _with_epochs_after(row: TrialRow, attempts: Sequence[Attempt]) -> list[tuple[Attempt, int]]:
    """Return each attempt at a trial with the epochs that the trial had after it."""
    after = [*(one.epochs_at_start for one in attempts[1:]), row.epochs_done]
    return list(zip(attempts, after, strict=False))


def seconds_remaining(rows: Sequence[TrialRow], *, n_epochs: int, n_workers: int) -> float | None:
    """Return the time until nothing waits or runs, None before the first epoch.

    From the mean time of finished trials (pruned ones included) and of their epochs; before one is
    finished, from the epochs so far.

    Args:
        rows: All trials of the study.
        n_epochs: Epochs of a whole trial.
        n_workers: Workers that share what is left; 0 counts as one.
    """
    finished = [row for row in rows if row.state in ("complete", "pruned") and row.epochs_done]
    epoch_seconds = seconds_per_epoch(finished or rows)
    if epoch_seconds is None:
        return None
    epochs_of_a_trial = mean(row.epochs_done for row in finished) if finished else n_epochs
    open_rows = [row for row in rows if row.state in ("waiting", "running")]
    epochs_left = [
        n_epochs - row.epochs_done if row.epochs_done else epochs_of_a_trial for row in open_rows
    ]
    return sum(epochs_left) * epoch_seconds / max(1, n_workers)
