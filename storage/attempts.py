"""What is kept of every attempt at a trial: who had it, and when. Only reads."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from storage.database import Database
from storage.process_identity import Owner
from storage.tables import attempts


@dataclass(frozen=True)
class Attempt:
    """One attempt at a trial.

    Attributes:
        trial_id: Optuna's row number of the trial.
        attempt: 1 for the first.
        owner: Who had it.
        started_at: When it was claimed, in seconds since 1970 by the database's clock.
        beat_at: Its last sign of life, likewise.
        ending: How it ended, None while it runs.
        epochs_at_start: Epochs that the trial had when it was claimed.
    """

    trial_id: int
    attempt: int
    owner: Owner
    started_at: float
    beat_at: float
    ending: str | None
    epochs_at_start: int = 0


def read_attempts(database: Database, trial_ids: Sequence[int]) -> list[Attempt]:
    """Return every attempt at the given trials, the earliest first."""
    wanted = (
        select(attempts)
        .where(attempts.c.trial_id.in_(trial_ids))
        .order_by(attempts.c.started_at, attempts.c.trial_id)
    )
    rows = database.read(lambda connection: connection.execute(wanted).all())
    return [
        Attempt(
            trial_id=row.trial_id,
            attempt=row.attempt,
            owner=Owner.parse(row.owner),
            started_at=row.started_at,
            beat_at=row.beat_at,
            ending=row.ending,
            epochs_at_start=row.epochs_at_start,
        )
        for row in rows
    ]


def attempts_by_trial(database: Database, trial_ids: Sequence[int]) -> dict[int, list[Attempt]]:
    """Return every attempt at the given trials, the earliest first, by trial id."""
    found: dict[int, list[Attempt]] = {}
    for attempt in read_attempts(database, trial_ids):
        found.setdefault(attempt.trial_id, []).append(attempt)
    return found
