"""A study as its queue sees it: how far each slot is, and what the budget still lets begin.

Everything follows from stored rows, so that each worker comes to the same answer.
"""

import functools
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    ScalarSelect,
    Select,
    case,
    exists,
    func,
    select,
)

from storage.budget import SECONDS_PER_HOUR, Budget
from storage.optuna_rows import PAUSED, SLOT, has_attribute, trials, user_attributes
from storage.promotion import FACTOR, promotable_trials
from storage.records import IMPORTED_FROM, read_budget
from storage.study_totals import is_own
from storage.tables import attempts, epochs, protocols

COLUMNS = (
    "trial_id",
    "state",
    "is_imported",
    "slot",
    "paused_at",
    "has_attempt",
    "n_epochs",
    "seconds",
)
"""What is read of each trial, before its best value until each rung."""


def audits_none(_slot: int) -> bool:
    """Let every trial pause."""
    return False


@dataclass(frozen=True)
class Rungs:
    """The epochs at which trials may pause, and the last epoch of a trial.

    Attributes:
        epochs: Epochs of the rungs, rising; none where trials do not pause.
        n_epochs: Epochs of a whole trial.
        audits: Whether the trial of a slot never pauses, to show what pausing would have lost.
    """

    epochs: tuple[int, ...]
    n_epochs: int
    audits: Callable[[int], bool] = audits_none

    def next_after(self, epoch: int) -> int:
        """Return the epoch at which a trial that has an epoch is decided upon next."""
        later = self.epochs[bisect_right(self.epochs, epoch) :]
        return later[0] if later else self.n_epochs


@dataclass(frozen=True)
class Progress:
    """How far a slot of the queue is.

    Attributes:
        trial_id: Optuna's row number.
        state: Optuna's state.
        paused_at: Epoch of the rung at which it waits; None where it does not.
        has_attempt: Whether a worker has had it.
        n_epochs: Epochs recorded.
        seconds: Their time.
        is_audited: Whether it passes the rungs without a pause.
    """

    trial_id: int
    state: TrialState
    paused_at: int | None
    has_attempt: bool
    n_epochs: int
    seconds: float
    is_audited: bool = False

    @property
    def is_fresh(self) -> bool:
        """Whether it waits for its first attempt."""
        return self.state == TrialState.WAITING and not self.has_attempt


@dataclass(frozen=True)
class Snapshot:
    """A study within a transaction that has locked it.

    Attributes:
        budget: What may be spent.
        slots: The slots of its queue, by row number.
        rungs: Where trials pause.
        has_complete: Whether any trial is complete.
        reached: By epoch of a rung, the best value until then of each trial that reached it.
        factor: One of so many trials at a rung may go on.
    """

    budget: Budget
    slots: Mapping[int, Progress]
    rungs: Rungs
    has_complete: bool
    reached: Mapping[int, Mapping[int, float]]
    factor: int = FACTOR

    @property
    def paused(self) -> dict[int, int]:
        """The epoch of the rung at which each paused trial waits."""
        return {
            one.trial_id: one.paused_at
            for one in self.slots.values()
            # Another program may have finished it meanwhile.
            if one.state == TrialState.WAITING and one.paused_at in self.rungs.epochs
        }

    @property
    def interrupted(self) -> list[int]:
        """The trials that wait for a worker to go on where another one left them."""
        return [one.trial_id for one in self.slots.values() if self._is_interrupted(one)]

    @property
    def is_spent(self) -> bool:
        """Whether the hours of the budget are spent."""
        seconds = sum(one.seconds for one in self.slots.values())
        return self.budget.unit == "hours" and seconds >= self.budget.amount * SECONDS_PER_HOUR

    @property
    def has_running(self) -> bool:
        """Whether any trial runs."""
        return any(one.state == TrialState.RUNNING for one in self.slots.values())

    @property
    def may_claim(self) -> bool:
        """Whether any trial may be claimed, be it a fresh one."""
        waits = bool(self.interrupted) and not self.is_spent
        return waits or self.may_begin() or self.next_paused() is not None

    def may_begin(self, *, without: Collection[int] = ()) -> bool:
        """Return whether a fresh trial waits, or may be added, and can be trained to its end.

        Args:
            without: Trials of which only what is trained counts.
        """
        grows = self.budget.unit != "trials"
        has_fresh = grows or any(one.is_fresh for one in self.slots.values())
        return has_fresh and self._epochs_left(without) >= self.rungs.n_epochs

    def next_paused(self, at_rung: Mapping[int, int] | None = None) -> int | None:
        """Return the paused trial that goes on next; None where a fresh one begins, or none may.

        A trial goes on only while it can be trained to its end. Where no fresh one can any more,
        what is left of a budget of epochs goes to the best of the others; and to one of them
        where a search of trials or hours would else end without a complete trial.

        Args:
            at_rung: The epoch of the rung that a running trial has just reached, which is asked
                about as if it was paused.
        """
        running = dict(at_rung or {})
        left = self._epochs_left(running)
        waits_at = {
            trial: epoch
            for trial, epoch in (self.paused | running).items()
            if self.rungs.n_epochs - epoch <= left
        }
        if line := promotable_trials(self.reached, waits_at, factor=self.factor):
            return line[0]
        if not waits_at or self.may_begin(without=running):
            return None
        lacks_result = not self.has_complete and not self.has_running
        return self._best(waits_at) if self.budget.unit == "epochs" or lacks_result else None

    def _best(self, waits_at: Mapping[int, int]) -> int:
        """Return the best trial of the highest rung."""
        highest = max(waits_at.values())
        values = self.reached[highest]
        return min(
            (trial for trial, epoch in waits_at.items() if epoch == highest),
            key=lambda trial: (-values.get(trial, 0.0), trial),
        )

    def _epochs_left(self, without: Collection[int]) -> float:
        """Return how many epochs the budget leaves for one more trial.

        What is trained is spent, and what begun trials still train until they are decided upon
        next: all epochs until then belong to a trial that runs or was interrupted.
        """
        if self.budget.unit != "epochs":
            return 0 if self.is_spent else math.inf
        committed = sum(
            one.n_epochs if one.trial_id in without else self._committed(one)
            for one in self.slots.values()
        )
        return self.budget.amount - committed

    def _committed(self, one: Progress) -> int:
        if not (one.state == TrialState.RUNNING or self._is_interrupted(one)):
            return one.n_epochs
        return self.rungs.n_epochs if one.is_audited else self.rungs.next_after(one.n_epochs)

    def _is_interrupted(self, one: Progress) -> bool:
        waits = one.state == TrialState.WAITING and not one.is_fresh
        return waits and one.paused_at not in self.rungs.epochs


def lock_and_read(connection: Connection, study_name: str, rungs: Rungs) -> Snapshot:
    """Return a study, locked until the transaction ends."""
    mine = protocols.c.study_name == study_name
    connection.execute(select(protocols.c.study_name).where(mine).with_for_update())
    rows = connection.execute(_reading_progress(study_name, rungs.epochs)).all()
    slots = {row.trial_id: _progress(row, rungs) for row in rows if not row.is_imported}
    reached: dict[int, dict[int, float]] = {rung: {} for rung in rungs.epochs}
    for row in rows:
        for rung, best in zip(rungs.epochs, row[len(COLUMNS) :], strict=True):
            if row.n_epochs >= rung:
                reached[rung][row.trial_id] = best
    return Snapshot(
        budget=read_budget(connection, study_name),
        slots=slots,
        rungs=rungs,
        has_complete=any(row.state == TrialState.COMPLETE for row in rows),
        reached=reached,
    )


def _progress(row: Row[Any], rungs: Rungs) -> Progress:
    return Progress(
        row.trial_id,
        row.state,
        json.loads(row.paused_at) if row.paused_at else None,
        bool(row.has_attempt),
        row.n_epochs,
        row.seconds,
        is_audited=rungs.audits(json.loads(row.slot)),
    )


@functools.lru_cache(64)  # composing the statement takes longer than executing it
def _reading_progress(study_name: str, rungs: tuple[int, ...]) -> Select[Any]:
    """Return what reads `COLUMNS` of each trial, and its best value until each rung."""
    best = {
        rung: func.max(case((epochs.c.epoch <= rung, epochs.c.validation_macro_f1)))
        for rung in rungs
    }
    trained = (
        select(
            epochs.c.trial_id,
            func.max(epochs.c.epoch).label("n_epochs"),
            func.sum(epochs.c.seconds).label("seconds"),
            *(until.label(f"best_{rung}") for rung, until in best.items()),
        )
        .where(epochs.c.trial_id.in_(select(trials.c.trial_id).where(is_own(study_name))))
        .group_by(epochs.c.trial_id)
        .subquery()
    )
    has_attempt = exists().where(attempts.c.trial_id == trials.c.trial_id)
    columns: tuple[ColumnElement[Any], ...] = (
        trials.c.trial_id,
        trials.c.state,
        has_attribute(IMPORTED_FROM),
        _attribute(SLOT),
        _attribute(PAUSED),
        has_attempt,
        func.coalesce(trained.c.n_epochs, 0),
        func.coalesce(trained.c.seconds, 0.0),
    )
    named = [column.label(name) for name, column in zip(COLUMNS, columns, strict=True)]
    return (
        select(*named, *(trained.c[f"best_{rung}"] for rung in rungs))
        .outerjoin(trained, trained.c.trial_id == trials.c.trial_id)
        .where(is_own(study_name))
        .order_by(trials.c.trial_id)
    )


def _attribute(key: str) -> ScalarSelect[str]:
    """Return a user attribute of a trial, as JSON."""
    mine = user_attributes.c.trial_id == trials.c.trial_id, user_attributes.c.key == key
    return select(user_attributes.c.value_json).where(*mine).scalar_subquery()
