"""The queue of a study whose trials pause at rungs, or whose budget counts epochs or hours.

What may be claimed follows from stored rows alone: the recorded epochs, the states of trials and
their attempts. Each decision locks the study, so that two workers never spend the same epochs, and
takes effect in the same transaction: a death before it repeats an epoch, a death after it leaves
nothing to mend.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.storages._rdb.models import StudyModel, TrialValueModel
from optuna.trial import TrialState, create_trial
from sqlalchemy import Connection, Table, select
from sqlalchemy.orm import Session

from storage.adoption import REASON
from storage.leases import Heartbeat, Lease, release_within
from storage.optuna_rows import (
    PAUSED,
    SLOT,
    next_waiting,
    note_audited,
    trials,
    user_attributes,
)
from storage.queue_snapshot import Rungs, Snapshot, lock_and_read
from storage.records import EpochRecord, count_epochs, report, report_resumed
from storage.study_storage import StudyStorage
from storage.tables import epochs, protocols

values: Table = TrialValueModel.__table__


class TrialQueue:
    """Decides which trial is claimed next, and whether one goes on at a rung.

    Args:
        handle: The study's database.
        study_name: Name of the study.
        rungs: Where its trials may pause.
        counts_hours: Whether its budget counts hours, which may be spent after any epoch.

    Attributes:
        rungs: The same.
    """

    def __init__(
        self, handle: StudyStorage, study_name: str, rungs: Rungs, *, counts_hours: bool
    ) -> None:
        self._handle = handle
        self._study_name = study_name
        self._study_id = handle.get_study_id_from_name(study_name)
        self.rungs = rungs
        self._counts_hours = counts_hours

    def choose(self, connection: Connection, *, last: set[int]) -> int | None:
        """Return the trial to claim next: interrupted, paused, or fresh; None where there is none.

        Where the budget counts epochs or hours, a fresh slot is added to the queue.

        Args:
            connection: An open transaction; the study is locked until it ends.
            last: Trials to be claimed only when nothing else waits.
        """
        snapshot = lock_and_read(connection, self._study_name, self.rungs)
        if snapshot.is_spent:
            return None
        chosen = self._first_in_line(connection, snapshot, last)
        if chosen is not None:
            _forget_pause(connection, chosen)
        return chosen

    def _first_in_line(
        self, connection: Connection, snapshot: Snapshot, last: set[int]
    ) -> int | None:
        interrupted = snapshot.interrupted
        if ready := [one for one in interrupted if one not in last]:
            return ready[0]
        paused = snapshot.next_paused()
        if paused is None and snapshot.may_begin():
            return self._next_fresh(connection, snapshot, last)
        return paused if paused is not None else next(iter(interrupted), None)

    def report(self, heartbeat: Heartbeat, records: Sequence[EpochRecord]) -> bool:
        """Store epochs of a running trial that is not at its end; return whether it pauses.

        It pauses where others go on before it, or the hours of the budget are spent; one that is
        audited only notes, in the same transaction, where others would have gone on. The lease of
        a trial that pauses ends in it too.

        Args:
            heartbeat: Holds the lease.
            records: The epochs, the newest last.

        Raises:
            LeaseLostError: If another worker has reclaimed the trial.
        """
        lease = heartbeat.lease

        def change(connection: Connection) -> bool:
            report(connection, lease.trial_id, records)
            return self._pauses(connection, lease, records[-1].epoch)

        return heartbeat.within(change)

    def report_resumed(self, heartbeat: Heartbeat, records: Sequence[EpochRecord]) -> bool:
        """Store every epoch of a resumed trial; return whether it pauses.

        That was decided when its newest epoch was stored; where that is only now, it is decided
        now.

        Args:
            heartbeat: Holds the lease.
            records: All its epochs in order.

        Raises:
            LeaseLostError: If another worker has reclaimed the trial.
        """
        lease = heartbeat.lease

        def change(connection: Connection) -> bool:
            is_new = len(records) > count_epochs(connection, lease.trial_id)
            report_resumed(connection, lease.trial_id, records)
            return is_new and self._pauses(connection, lease, records[-1].epoch)

        return heartbeat.within(change)

    def _pauses(self, connection: Connection, lease: Lease, epoch: int) -> bool:
        """Let a trial wait at an epoch where it may not go on; return whether it does."""
        if self._goes_on(connection, lease.trial_id, epoch):
            return False
        release_within(connection, lease, PAUSED)
        row = {"trial_id": lease.trial_id, "key": PAUSED, "value_json": json.dumps(epoch)}
        connection.execute(user_attributes.insert().values(**row))
        return True

    def _goes_on(self, connection: Connection, trial_id: int, epoch: int) -> bool:
        is_rung = epoch in self.rungs.epochs
        if not is_rung and not self._counts_hours:
            return True
        snapshot = lock_and_read(connection, self._study_name, self.rungs)
        if snapshot.is_spent:
            return False
        if not is_rung or snapshot.next_paused({trial_id: epoch}) == trial_id:
            return True
        one = snapshot.slots.get(trial_id)
        if one is None or not one.is_audited:
            return False
        note_audited(connection, trial_id, epoch)
        return True

    def close(self) -> list[int] | None:
        """Finish what waits, once nothing runs and nothing may be claimed.

        Idempotent: another worker finds nothing left.

        Returns:
            The row numbers of the trials that this call finished; None where the study is not
            over.
        """

        def change(connection: Connection) -> list[int] | None:
            snapshot = lock_and_read(connection, self._study_name, self.rungs)
            if snapshot.has_running or snapshot.may_claim:
                return None
            return list(self._finish_waiting(connection, snapshot))

        return self._handle.database.write(change)

    def _next_fresh(
        self, connection: Connection, snapshot: Snapshot, last: set[int]
    ) -> int | None:
        waiting = next_waiting(connection, self._study_id, last)
        if waiting is not None or snapshot.budget.unit == "trials":
            return waiting
        return self._add_slot(connection)

    def _add_slot(self, connection: Connection) -> int:
        """Add the next slot to the queue; return the row number of its trial."""
        mine = protocols.c.study_name == self._study_name
        slot = connection.execute(select(protocols.c.budget).where(mine)).scalar_one()
        template = create_trial(state=TrialState.WAITING, user_attrs={SLOT: slot})
        with Session(connection) as session:
            StudyModel.find_or_raise_by_id(self._study_id, session, for_update=True)
            trial = self._handle._get_prepared_new_trial(self._study_id, template, session)
            session.flush()
            trial_id = int(trial.trial_id)
        connection.execute(protocols.update().where(mine).values(budget=slot + 1))
        return trial_id

    def _finish_waiting(self, connection: Connection, snapshot: Snapshot) -> Iterator[int]:
        for one in snapshot.slots.values():
            if one.state != TrialState.WAITING:
                continue
            if not one.n_epochs:
                reason = {"kind": "budget", "message": "the budget was spent before it began"}
                _finish(connection, one.trial_id, TrialState.FAIL, reason)
            elif one.paused_at in self.rungs.epochs and not snapshot.is_spent:
                others = f"others went on before it from epoch {one.paused_at}"
                reason = {"kind": "not promoted", "message": others}
                _finish(connection, one.trial_id, TrialState.PRUNED, reason)
            else:
                reason = {"kind": "budget", "message": f"spent after its epoch {one.n_epochs}"}
                _finish(connection, one.trial_id, TrialState.PRUNED, reason)
            yield one.trial_id


def _forget_pause(connection: Connection, trial_id: int) -> None:
    mine = (user_attributes.c.trial_id == trial_id) & (user_attributes.c.key == PAUSED)
    connection.execute(user_attributes.delete().where(mine))


def _finish(
    connection: Connection, trial_id: int, state: TrialState, reason: Mapping[str, str]
) -> None:
    """Finish a waiting trial, as Optuna does: the value of a pruned one is its last."""
    _forget_pause(connection, trial_id)
    now = datetime.now(UTC).replace(tzinfo=None)
    change = {"state": state, "datetime_complete": now}
    connection.execute(trials.update().where(trials.c.trial_id == trial_id).values(**change))
    noted = (user_attributes.c.trial_id == trial_id) & (user_attributes.c.key == REASON)
    connection.execute(user_attributes.delete().where(noted))
    row: dict[str, Any] = {
        "trial_id": trial_id,
        "key": REASON,
        "value_json": json.dumps(dict(reason)),
    }
    connection.execute(user_attributes.insert().values(**row))
    newest = select(epochs.c.validation_macro_f1).where(epochs.c.trial_id == trial_id)
    last = connection.execute(newest.order_by(epochs.c.epoch.desc()).limit(1)).scalar()
    if state == TrialState.PRUNED and last is not None:
        kind = TrialValueModel.TrialValueType.FINITE
        row = {"trial_id": trial_id, "objective": 0, "value": last, "value_type": kind}
        connection.execute(values.insert().values(**row))
