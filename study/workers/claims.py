"""Which trial a worker claims next: one whose worker is lost, else the first that waits.

Where trials pause, or the budget counts epochs or hours, the queue itself chooses what waits.

A worker may die between any two lines, and another finds what it needs to continue. Must not
import torch.
"""

import logging
from collections.abc import Mapping, Set
from functools import partial

import optuna
from optuna.trial import TrialState

from storage.configuration import StorageConfig
from storage.leases import (
    HeldLease,
    Lease,
    acquire,
    acquire_waiting,
    reject_other_machines,
)
from storage.lost_workers import Watch
from storage.process_identity import Owner
from storage.queue_snapshot import Rungs
from storage.study_storage import StudyStorage
from storage.study_totals import count_states, running_ids
from storage.trial_queue import TrialQueue
from study.session.session import StudySession
from study.trial.pruning_audit import is_audited
from study.trial.rung_pruner import rungs_of

logger = logging.getLogger(__name__)


class Claimant:
    """Claims trials of a study for this process.

    Args:
        handle: The study's database.
        optuna_study: Optuna's view of the study.
        place: How patient workers are with each other.
        queue: Chooses what is claimed where trials pause or epochs are counted; None: the first.

    Attributes:
        watch: Watches the leases of others; to be called at every heartbeat.
        closed: Row numbers of paused trials that this process has finished at the end.
    """

    def __init__(
        self,
        handle: StudyStorage,
        optuna_study: optuna.Study,
        place: StorageConfig,
        queue: TrialQueue | None = None,
    ) -> None:
        self._handle = handle
        self._optuna_study = optuna_study
        self._grace_seconds = place.grace_seconds
        self._study_id = optuna_study._study_id
        self._owner = Owner.current()
        self._put_off: set[int] = set()
        self._queue = queue
        self.closed: list[int] = []
        self.watch = Watch(
            handle.database,
            heartbeat_seconds=place.heartbeat_seconds,
            grace_seconds=place.grace_seconds,
        )

    def claim(self) -> Lease | None:
        """Return a lease on a trial that its worker has lost, else on the first that waits.

        Raises:
            StorageError: If a worker of another machine uses the same SQLite file.
        """
        held = self.watch.poll()
        reject_other_machines(self._handle.database, [*held.values()], grace=self._grace_seconds)
        lost = {trial_id: lease for trial_id, lease in held.items() if self.watch.is_lost(lease)}
        reclaimed = self._reclaim(held.keys() - lost, lost) if lost else None
        if reclaimed is not None:
            return reclaimed
        waiting = acquire_waiting(
            self._handle.database,
            self._study_id,
            self._owner,
            last=self._put_off,
            choose=partial(self._queue.choose, last=self._put_off) if self._queue else None,
        )
        return waiting or self._reclaim(held.keys() - lost, {})

    def _close(self, queue: TrialQueue) -> bool:
        """Finish the trials that wait, once no other may go on; return whether it is so."""
        closed = queue.close()
        self.closed += closed or []
        return closed is not None

    def _reclaim(self, live: Set[int], lost: Mapping[int, HeldLease]) -> Lease | None:
        """Return a lease on a running trial whose worker is lost, or that nobody holds."""
        for trial_id in running_ids(self._handle.database, self._optuna_study.study_name):
            if trial_id in live:
                continue
            seen = lost.get(trial_id)
            lease = acquire(self._handle.database, trial_id, self._owner, lost=seen, running=True)
            if lease is None:
                continue
            number = self._handle.get_trial(trial_id).number
            logger.info("reclaimed trial %d %s", number, _describe(seen))
            return lease
        return None

    def put_off(self, trial_id: int) -> None:
        """Let a trial wait until every other one has been tried."""
        self._put_off.add(trial_id)

    def is_over(self, *, when_idle: bool = False) -> bool:
        """Return whether nothing waits and nothing runs; `when_idle`, whether nothing waits.

        To be asked when nothing could be claimed.
        """
        if self._queue is not None:
            return when_idle or self._close(self._queue)
        states = count_states(self._handle.database, self._optuna_study.study_name)
        return not states.get(TrialState.WAITING) and (
            when_idle or not states.get(TrialState.RUNNING)
        )


def build_queue(session: StudySession) -> TrialQueue | None:
    """Return the queue of a study whose trials pause or whose budget counts no trials, else None.

    What follows a search does neither.
    """
    search, unit = session.config.search, session.protocol.limit.unit
    pauses = search.pruner == "promotion"
    if not session.is_search or not (pauses or unit != "trials"):
        return None
    return TrialQueue(
        session.storage_handle,
        session.protocol.study_name,
        Rungs(
            tuple(rungs_of(session.config)) if pauses else (),
            search.n_epochs,
            audits=partial(is_audited, session.config),
        ),
        counts_hours=unit == "hours",
    )


def _describe(lost: HeldLease | None) -> str:
    """Say whose a reclaimed trial was."""
    if lost is None:
        return "that nobody held"
    owner = Owner.parse(lost.owner)
    return (
        f"of a lost worker on {owner.host}, pid {owner.pid}: its last heartbeat was "
        f"{lost.age_seconds:.0f} s ago"
    )
