"""What a study has done so far, summed by the database, and which trials to look at closer.

Nothing here sends the epochs of finished trials one by one: a study may have 10,000 trials. A
trial of the study is a slot of its queue, or was imported by a fork; others are not counted.
"""

import json
from dataclasses import dataclass
from typing import Any

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import ColumnElement, ScalarSelect, Select, Table, case, func, select

from storage.database import Database
from storage.frozen_trials import trials, user_attributes, values
from storage.leases import LOST
from storage.optuna_rows import PAUSED, SLOT, has_attribute, is_slot, is_told
from storage.records import IMPORTED_FROM
from storage.tables import attempts, epochs
from storage.trial_rows import PAUSED_STATE, STATE_NAMES

studies: Table = models.StudyModel.__table__
EARLY = (TrialState.PRUNED, TrialState.FAIL)
FINISHED = (*EARLY, TrialState.COMPLETE)


@dataclass(frozen=True)
class Totals:
    """What the trials of one state have trained.

    Attributes:
        state: Their state.
        is_imported: Whether another study ran them.
        is_paused: Whether they wait at a rung.
        n_trials: How many there are.
        n_begun: How many of them have an epoch.
        n_epochs: Epochs of all.
        seconds: Time of these epochs.
    """

    state: TrialState
    is_imported: bool
    n_trials: int
    n_begun: int
    n_epochs: int
    seconds: float
    is_paused: bool = False

    @property
    def state_name(self) -> str:
        """Their state as people see it."""
        return PAUSED_STATE if self.is_paused else STATE_NAMES[self.state]


@dataclass(frozen=True)
class Slot:
    """A trial that is a slot of a study's queue, without what it has drawn and reported."""

    trial_id: int
    number: int
    slot: int
    state: TrialState
    value: float | None
    is_paused: bool = False


def _of(study_name: str) -> ColumnElement[bool]:
    return trials.c.study_id == _id(study_name)


def _id(study_name: str) -> ScalarSelect[int]:
    named = select(studies.c.study_id).where(studies.c.study_name == study_name)
    return named.scalar_subquery()


def is_own(study_name: str) -> ColumnElement[bool]:
    """Return the condition that a trial is a slot of a study's queue, or imported by a fork."""
    is_imported = has_attribute(IMPORTED_FROM) & trials.c.state.in_(FINISHED)
    return _of(study_name) & (is_own_slot(study_name) | is_imported)


def is_own_slot(study_name: str) -> ColumnElement[bool]:
    """Return the condition that a trial is a slot of a study's queue."""
    return is_slot(_id(study_name)) & ~is_told()


def _run_here(study_name: str) -> Select[Any]:
    return select(trials.c.trial_id).where(_of(study_name), is_own_slot(study_name))


def foreign_ids(database: Database, study_name: str) -> list[int]:
    """Return the row numbers of the trials that other programs have added or finished."""
    foreign = select(trials.c.trial_id).where(_of(study_name), ~is_own(study_name))
    wanted = foreign.order_by(trials.c.number)
    return list(database.read(lambda connection: connection.scalars(wanted).all()))


def own_ids(database: Database, study_name: str) -> list[int]:
    """Return the row numbers of the trials of a study by number, foreign ones left out."""
    wanted = select(trials.c.trial_id).where(is_own(study_name)).order_by(trials.c.number)
    return list(database.read(lambda connection: connection.scalars(wanted).all()))


def read_slots(database: Database, study_name: str) -> list[Slot]:
    """Return the slots of a study's queue, by trial number."""
    wanted = (
        select(
            trials.c.trial_id,
            trials.c.number,
            user_attributes.c.value_json,
            trials.c.state,
            values.c.value,
            has_attribute(PAUSED),
        )
        .join(user_attributes, user_attributes.c.trial_id == trials.c.trial_id)
        .outerjoin(values, values.c.trial_id == trials.c.trial_id)
        .where(_of(study_name), user_attributes.c.key == SLOT, is_own_slot(study_name))
        .order_by(trials.c.number)
    )
    rows = database.read(lambda connection: connection.execute(wanted).all())
    return [
        Slot(id_, number, int(slot), state, value, bool(paused))
        for id_, number, slot, state, value, paused in rows
    ]


def read_totals(database: Database, study_name: str) -> list[Totals]:
    """Return what the trials of each state have trained; those that are paused apart."""
    trained = (
        select(epochs.c.trial_id, func.count().label("n"), func.sum(epochs.c.seconds).label("s"))
        .where(epochs.c.trial_id.in_(select(trials.c.trial_id).where(_of(study_name))))
        .group_by(epochs.c.trial_id)
        .subquery()
    )
    is_paused = (trials.c.state == TrialState.WAITING) & has_attribute(PAUSED)
    kinds = (
        select(
            trials.c.trial_id,
            trials.c.state,
            has_attribute(IMPORTED_FROM).label("imported"),
            is_paused.label("paused"),
        )
        .where(is_own(study_name))
        .subquery()
    )
    wanted = (
        select(
            kinds.c.state,
            kinds.c.imported,
            func.count(),
            func.count(trained.c.n),
            func.coalesce(func.sum(trained.c.n), 0),
            func.coalesce(func.sum(trained.c.s), 0.0),
            kinds.c.paused,
        )
        .select_from(kinds.outerjoin(trained, trained.c.trial_id == kinds.c.trial_id))
        .group_by(kinds.c.state, kinds.c.imported, kinds.c.paused)
    )
    rows = database.read(lambda connection: connection.execute(wanted).all())
    return [
        Totals(
            state, bool(imported), n_trials, n_begun, int(n_epochs), float(seconds), bool(paused)
        )
        for state, imported, n_trials, n_begun, n_epochs, seconds, paused in rows
    ]


def count_states(database: Database, study_name: str) -> dict[TrialState, int]:
    """Return how many trials are in each state."""
    wanted = (
        select(trials.c.state, func.count()).where(is_own(study_name)).group_by(trials.c.state)
    )
    rows = database.read(lambda connection: connection.execute(wanted).all())
    return {state: count for state, count in rows}


def running_ids(database: Database, study_name: str) -> list[int]:
    """Return the row numbers of the trials that run, by number."""
    running = trials.c.state == TrialState.RUNNING
    wanted = select(trials.c.trial_id).where(is_own(study_name), running).order_by(trials.c.number)
    return list(database.read(lambda connection: connection.scalars(wanted).all()))


def best_ids(
    database: Database, study_name: str, most: int, *, complete: bool = False
) -> list[int]:
    """Return the row numbers of the trials of the highest values, the earliest of equals first.

    Args:
        database: Where the study is.
        study_name: Its name.
        most: How many at most.
        complete: Whether only complete trials count; else the others do by their best epoch, and
            those without one come last.
    """
    is_complete = trials.c.state == TrialState.COMPLETE
    mine = epochs.c.trial_id == trials.c.trial_id
    best_epoch = select(func.max(epochs.c.validation_macro_f1)).where(mine).scalar_subquery()
    value = values.c.value if complete else case((is_complete, values.c.value), else_=best_epoch)
    wanted = (
        select(trials.c.trial_id)
        .outerjoin(values, values.c.trial_id == trials.c.trial_id)
        .where(is_own(study_name))
        .order_by(value.desc().nulls_last(), trials.c.number)
        .limit(most)
    )
    if complete:
        wanted = wanted.where(is_complete, values.c.value.is_not(None))
    return list(database.read(lambda connection: connection.scalars(wanted).all()))


def count_lost_attempts(database: Database, study_name: str) -> int:
    """Return how often a worker was lost with its trial."""
    lost = attempts.c.trial_id.in_(_run_here(study_name)) & attempts.c.ending.startswith(LOST)
    wanted = select(func.count()).select_from(attempts).where(lost)
    return database.read(lambda connection: connection.scalar(wanted)) or 0


def read_early_ends(
    database: Database, study_name: str
) -> list[tuple[TrialState, dict[str, str] | None]]:
    """Return state and noted reason of each trial that was pruned or has failed, by number."""
    reason = user_attributes.c.key == "reason"
    wanted = (
        select(trials.c.state, user_attributes.c.value_json)
        .outerjoin(user_attributes, (user_attributes.c.trial_id == trials.c.trial_id) & reason)
        .where(trials.c.trial_id.in_(_run_here(study_name)), trials.c.state.in_(EARLY))
        .order_by(trials.c.number)
    )
    rows = database.read(lambda connection: connection.execute(wanted).all())
    return [(state, json.loads(text) if text else None) for state, text in rows]


def newest_early_ids(database: Database, study_name: str, most: int) -> list[int]:
    """Return the row numbers of the trials that ended early last, the newest first."""
    mine = attempts.c.trial_id == trials.c.trial_id
    heartbeat = select(func.max(attempts.c.beat_at)).where(mine).scalar_subquery()
    wanted = (
        select(trials.c.trial_id)
        .where(trials.c.trial_id.in_(_run_here(study_name)), trials.c.state.in_(EARLY))
        .order_by(func.coalesce(heartbeat, 0.0).desc(), trials.c.number.desc())
        .limit(most)
    )
    return list(database.read(lambda connection: connection.scalars(wanted).all()))


def newest_ended_progress(database: Database, study_name: str) -> float | None:
    """Return the last heartbeat of the attempts that ended after a new epoch, None without one."""
    done = select(func.max(epochs.c.epoch)).where(epochs.c.trial_id == attempts.c.trial_id)
    following = func.lead(attempts.c.epochs_at_start).over(
        partition_by=attempts.c.trial_id, order_by=attempts.c.attempt
    )
    ended = (
        select(
            attempts.c.beat_at,
            attempts.c.ending,
            attempts.c.epochs_at_start,
            func.coalesce(following, done.scalar_subquery(), 0).label("epochs_after"),
        )
        .where(attempts.c.trial_id.in_(_run_here(study_name)))
        .subquery()
    )
    wanted = select(func.max(ended.c.beat_at)).where(
        ended.c.ending.is_not(None), ended.c.epochs_after > ended.c.epochs_at_start
    )
    found: float | None = database.read(lambda connection: connection.scalar(wanted))
    return found


def longest_epoch_seconds(database: Database, study_name: str) -> float | None:
    """Return the duration of the longest epoch of a study, None before the first."""
    mine = epochs.c.trial_id.in_(select(trials.c.trial_id).where(_of(study_name)))
    wanted = select(func.max(epochs.c.seconds)).where(mine)
    found: float | None = database.read(lambda connection: connection.scalar(wanted))
    return found
