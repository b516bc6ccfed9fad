"""The few rows of Optuna's tables that must change together with ours, in one transaction.

A claim, an epoch and a release are each one COMMIT, which is faster than two and
leaves no state between them that a death could leave behind. Everything else goes through Optuna's
own storage. The tables are those of Optuna 5 (its schema has not changed since 3.2).
"""

import functools
import json
from datetime import UTC, datetime

from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
)
from optuna.trial import TrialState
from sqlalchemy import ColumnElement, Connection, Insert, ScalarSelect, Table, exists, func, select
from sqlalchemy.dialects import postgresql, sqlite

trials: Table = TrialModel.__table__
values: Table = TrialIntermediateValueModel.__table__
user_attributes: Table = TrialUserAttributeModel.__table__
system_attributes: Table = TrialSystemAttributeModel.__table__

StudyId = int | ScalarSelect[int]
SLOT = "slot"
"""User attribute of a trial that is a slot of a study's queue: its position there."""
BEST_EPOCH = "best_epoch"
"""User attribute that a worker of ours writes before it finishes a complete trial."""
EXECUTION = "execution"
"""User attribute: processor or GPU model, CPU instructions, precision and threads."""
LAST_WEIGHTS = "last_weights"
"""User attribute of a complete or pruned trial: last epoch, SHA-256 of the weights after it."""
METRIC_NAME = "validation macro-F1"
"""What trials are ranked by, as Optuna's own tools call it."""
METRIC_NAMES = "study:metric_names"
"""Optuna's system attribute of a study: a name for each objective."""
PAUSED = "paused"
"""User attribute of a waiting trial that waits at a rung: the epoch of the rung."""
AUDITED = "audited"
"""User attribute of a trial that runs on for the audit: the epoch at which it was to be cut."""
FIXED_PARAMS = "fixed_params"
"""Optuna's system attribute of a trial with given hyperparameters."""


def next_waiting(connection: Connection, study_id: int, last: set[int]) -> int | None:
    """Return the first waiting slot, locked until the transaction ends; None where none waits.

    Those with given hyperparameters come first: somebody wants to know about them. Paused trials
    are left out.

    Args:
        connection: An open transaction.
        study_id: Optuna's row number of the study.
        last: Trials to be claimed only when nothing else waits.
    """
    given = exists().where(
        system_attributes.c.trial_id == trials.c.trial_id, system_attributes.c.key == FIXED_PARAMS
    )
    order = [*([trials.c.trial_id.in_(last)] if last else []), ~given, trials.c.number]
    ready = is_waiting(study_id) & ~has_attribute(PAUSED)
    waiting = select(trials.c.trial_id).where(ready, is_slot(study_id))
    first = waiting.order_by(*order).limit(1).with_for_update(skip_locked=True)
    return connection.execute(first).scalar()


def is_waiting(study_id: StudyId) -> ColumnElement[bool]:
    """Return the condition that a trial of a study waits."""
    return (trials.c.study_id == study_id) & (trials.c.state == TrialState.WAITING)


def has_attribute(key: str) -> ColumnElement[bool]:
    """Return the condition that a trial has a user attribute."""
    attribute = user_attributes.alias()
    return exists().where(attribute.c.trial_id == trials.c.trial_id, attribute.c.key == key)


def is_slot(study_id: StudyId) -> ColumnElement[bool]:
    """Return the condition that a trial of a study has a slot, and is the first that has it."""
    other, attribute = trials.alias(), user_attributes.alias()
    first = (
        select(func.min(other.c.trial_id))
        .join(attribute, attribute.c.trial_id == other.c.trial_id)
        .where(other.c.study_id == study_id, attribute.c.key == SLOT)
        .group_by(attribute.c.value_json)
    )
    return trials.c.trial_id.in_(first)


def is_told() -> ColumnElement[bool]:
    """Return the condition that another program has given a trial its result.

    Such a program may have done so while the trial was paused.
    """
    is_ours = has_attribute(BEST_EPOCH) & ~has_attribute(PAUSED)
    return (trials.c.state == TrialState.COMPLETE) & ~is_ours


def set_running(connection: Connection, trial_id: int) -> None:
    """Let a waiting trial run."""
    started = datetime.now(UTC).replace(tzinfo=None)
    connection.execute(
        trials.update()
        .where(trials.c.trial_id == trial_id, trials.c.state == TrialState.WAITING)
        .values(state=TrialState.RUNNING, datetime_start=started)
    )


def is_running(connection: Connection, trial_id: int) -> bool:
    """Return whether a trial runs, and keep it so until the transaction ends."""
    state = select(trials.c.state).where(trials.c.trial_id == trial_id)
    found = connection.execute(state.with_for_update(key_share=True)).scalar()
    return bool(found == TrialState.RUNNING)


def set_waiting(connection: Connection, trial_id: int) -> None:
    """Let a running trial wait."""
    connection.execute(
        trials.update()
        .where(trials.c.trial_id == trial_id, trials.c.state == TrialState.RUNNING)
        .values(state=TrialState.WAITING)
    )


def note_audited(connection: Connection, trial_id: int, epoch: int) -> None:
    """Note that a trial runs on for the audit, unless it is noted already.

    Args:
        connection: An open transaction, in which nobody else can have the trial.
        trial_id: Optuna's row number of the trial.
        epoch: The epoch at which it was to be cut.
    """
    mine = (user_attributes.c.trial_id == trial_id) & (user_attributes.c.key == AUDITED)
    if connection.execute(select(user_attributes.c.key).where(mine)).first() is None:
        row = {"trial_id": trial_id, "key": AUDITED, "value_json": json.dumps(epoch)}
        connection.execute(user_attributes.insert().values(**row))


def put_value(connection: Connection, trial_id: int, step: int, value: float) -> None:
    """Report an intermediate value; the first one of a step stays."""
    stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    row = {"trial_id": trial_id, "step": step, "intermediate_value": stored}
    typed = row | {"intermediate_value_type": kind}
    connection.execute(_putting_a_value(connection.dialect.name), typed)


@functools.cache  # composing the statement takes longer than executing it
def _putting_a_value(dialect: str) -> Insert:
    insertion = sqlite.insert(values) if dialect == "sqlite" else postgresql.insert(values)
    return insertion.on_conflict_do_nothing(index_elements=["trial_id", "step"])
