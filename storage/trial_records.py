"""Trials with all that is recorded of them, some at a time: what an export reads.

A study may have 10,000 trials, whose epochs together need not fit into memory. Each trial is read
before its epochs, so that a finished one has all of them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from storage.database import Database
from storage.frozen_trials import among, trials
from storage.records import EpochRecord, as_epoch, stream_epochs
from storage.study_storage import StudyStorage
from storage.study_totals import own_ids
from storage.tables import attempts
from storage.trial_rows import TrialRow, build_row, reject_missing

MOST_TRIALS = 500


@dataclass(frozen=True)
class TrialRecord:
    """One trial with its epochs.

    Attributes:
        row: The trial as people see it.
        epochs: What was recorded of it, in order.
        started_at: When it was first claimed; None where it waits, or its study did not note it.
        ended_at: When it was finished; None where it is not.
        n_attempts: Number of claims in this study; 0 where another study ran it.
    """

    row: TrialRow
    epochs: tuple[EpochRecord, ...]
    started_at: datetime | None
    ended_at: datetime | None
    n_attempts: int


def stream_trial_records(storage: StudyStorage, study_name: str) -> Iterator[TrialRecord]:
    """Yield every trial of a study by number; foreign ones are left out.

    Raises:
        StudyNotFoundError: If the database has no study of that name.
    """
    reject_missing(storage, study_name)
    ids = own_ids(storage.database, study_name)
    for start in range(0, len(ids), MOST_TRIALS):
        yield from read_trial_records(storage, ids[start : start + MOST_TRIALS])


def read_trial_records(storage: StudyStorage, trial_ids: Sequence[int]) -> Iterator[TrialRecord]:
    """Yield the trials of Optuna's row numbers that are there, by number."""
    database = storage.database
    trials_read = sorted(storage.get_trials(trial_ids), key=lambda trial: trial.number)
    found = {trial._trial_id: trial for trial in trials_read}
    times, n_attempts = _read_times(database, trial_ids), _count_attempts(database, trial_ids)
    rows = dict(stream_epochs(database, trial_ids))
    for trial_id in filter(times.__contains__, found):  # others were deleted just now
        records, (started_at, ended_at) = rows.get(trial_id, []), times[trial_id]
        yield TrialRecord(
            build_row(found[trial_id], records),
            tuple(map(as_epoch, records)),
            started_at,
            # It may have been finished after its state was read.
            ended_at if found[trial_id].state.is_finished() else None,
            n_attempts[trial_id],
        )


def _read_times(
    database: Database, trial_ids: Sequence[int]
) -> dict[int, tuple[datetime | None, datetime | None]]:
    """Return begin and end of trials as Optuna stores them, in UTC."""

    def read(connection: Connection) -> dict[int, tuple[datetime | None, datetime | None]]:
        wanted = select(trials.c.trial_id, trials.c.datetime_start, trials.c.datetime_complete)
        rows = connection.execute(wanted.where(among(trials.c.trial_id, trial_ids)))
        return {trial_id: (_in_utc(start), _in_utc(end)) for trial_id, start, end in rows}

    return database.read(read)


def _in_utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)


def _count_attempts(database: Database, trial_ids: Sequence[int]) -> Counter[int]:
    def read(connection: Connection) -> Counter[int]:
        wanted = select(attempts.c.trial_id, func.count()).group_by(attempts.c.trial_id)
        rows = connection.execute(wanted.where(among(attempts.c.trial_id, trial_ids)))
        return Counter({trial_id: n for trial_id, n in rows})

    return database.read(read)
