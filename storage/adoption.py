"""Waiting trials that have no slot yet: Optuna's own tools, or `study enqueue`, have added them.

Adoption makes such a trial a slot of its study, one more than its budget, in one transaction.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from optuna.storages import RDBStorage
from optuna.storages._rdb.models import StudyModel
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Connection, ScalarSelect, literal, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.optuna_rows import (
    BEST_EPOCH,
    FIXED_PARAMS,
    LAST_WEIGHTS,
    PAUSED,
    SLOT,
    is_slot,
    is_told,
    is_waiting,
    trials,
    user_attributes,
)
from storage.records import IMPORTED_FROM, raise_amount, read_budget
from storage.tables import protocols

SHOWN = {PAUSED, BEST_EPOCH, LAST_WEIGHTS}
"""User attributes of what a trial has trained, which does not stay when it is queued again."""
ENQUEUED = "enqueued"
"""User attribute of a trial that `study enqueue` has added: what tells it from any other."""
REASON = "reason"
RENAMED = (SLOT, REASON, BEST_EPOCH, PAUSED, "host", "label", IMPORTED_FROM)
"""User attributes that the service itself writes and believes."""


def waiting_without_slot(database: Database, study_name: str) -> list[int]:
    """Return the waiting trials of a study that have no slot, by number."""
    study_id = _study_id(study_name)
    found = select(trials.c.trial_id).where(is_waiting(study_id), ~is_slot(study_id))
    ordered = found.order_by(trials.c.number)
    return list(database.read(lambda connection: connection.execute(ordered).scalars().all()))


def told_slots(database: Database, study_name: str) -> list[int]:
    """Return the slots of a study whose result no worker of ours has reported, by trial id."""
    study_id = _study_id(study_name)
    of_study = trials.c.study_id == study_id
    found = select(trials.c.trial_id).where(of_study, is_told(), is_slot(study_id))
    return list(database.read(lambda connection: connection.execute(found).scalars().all()))


def requeue(storage: RDBStorage, database: Database, study_id: int, told: FrozenTrial) -> None:
    """Take its slot from a trial, and queue that again as it was, in one transaction.

    Args:
        storage: Optuna's storage of the study.
        database: The same database.
        study_id: Optuna's row number of the study.
        told: The trial that another program has given its result.
    """
    params = told.system_attrs.get(FIXED_PARAMS, {}) | told.params
    again = create_trial(
        state=TrialState.WAITING,
        user_attrs={key: told.user_attrs[key] for key in told.user_attrs.keys() - SHOWN},
        system_attrs={FIXED_PARAMS: params} if params else {},
    )

    def change(connection: Connection) -> None:
        _rename_attributes(connection, told._trial_id, (*RENAMED, ENQUEUED))
        with Session(connection) as session:
            StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            storage._get_prepared_new_trial(study_id, again, session)
            session.flush()

    database.write(change)


def adopt(
    database: Database,
    trial_id: int,
    *,
    study_name: str,
    n_epochs: int,
    rejection: Mapping[str, str] | None,
) -> int | None:
    """Give a waiting trial the next slot of its study; the caller holds the init lock.

    Args:
        database: Where the study is.
        trial_id: Optuna's row number.
        study_name: Name of the study, whose budget grows, save for one of hours.
        n_epochs: Epochs of a whole trial.
        rejection: The reason for which the trial fails instead of waiting on.

    Returns:
        The slot; None where the trial does not wait any more.
    """

    def change(connection: Connection) -> int | None:
        row = select(trials).where(trials.c.trial_id == trial_id).with_for_update()
        trial = connection.execute(row).one_or_none()
        if trial is None or trial.state != TrialState.WAITING:
            return None
        taken = _slots(connection, trial.study_id)
        if trial_id in taken:  # only the answer was lost
            return taken[trial_id]
        mine = protocols.c.study_name == study_name
        budget = connection.execute(select(protocols.c.budget).where(mine)).scalar_one()
        slot: int = max([budget, *(one + 1 for one in taken.values())])
        _rename_attributes(connection, trial_id, RENAMED)
        _add_attribute(connection, trial_id, SLOT, slot)
        connection.execute(protocols.update().where(mine).values(budget=slot + 1))
        limit = read_budget(connection, study_name)
        if limit.unit == "epochs" and rejection is None:
            raise_amount(connection, study_name, limit.amount + n_epochs)
        if rejection is not None:
            _add_attribute(connection, trial_id, REASON, dict(rejection))
            _fail(connection, trial_id)
        return slot

    return database.write(change)


def _slots(connection: Connection, study_id: int) -> dict[int, int]:
    """Return the slots of a study by trial id."""
    found = (
        select(trials.c.trial_id, user_attributes.c.value_json)
        .join(user_attributes, user_attributes.c.trial_id == trials.c.trial_id)
        .where(user_attributes.c.key == SLOT, trials.c.study_id == study_id, is_slot(study_id))
    )
    return {trial_id: json.loads(slot) for trial_id, slot in connection.execute(found)}


def _study_id(study_name: str) -> ScalarSelect[int]:
    named = select(StudyModel.study_id).where(StudyModel.study_name == study_name)
    return named.scalar_subquery()


def _rename_attributes(connection: Connection, trial_id: int, keys: Sequence[str]) -> None:
    theirs = (user_attributes.c.trial_id == trial_id) & user_attributes.c.key.in_(keys)
    renamed = literal("their ") + user_attributes.c.key
    connection.execute(user_attributes.update().where(theirs).values(key=renamed))


def _add_attribute(connection: Connection, trial_id: int, key: str, value: object) -> None:
    row = {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
    connection.execute(user_attributes.insert().values(**row))


def _fail(connection: Connection, trial_id: int) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    change = {"state": TrialState.FAIL, "datetime_start": now, "datetime_complete": now}
    connection.execute(trials.update().where(trials.c.trial_id == trial_id).values(**change))
