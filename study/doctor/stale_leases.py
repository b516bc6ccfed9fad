"""Trials whose worker is gone: open leases that nobody renews, and trials that nobody holds.

A repair claims the trial first, as a worker would, so that a living worker's trial is never
touched; then it withdraws its claim, and Optuna's state follows.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from optuna.trial import TrialState

from dashboards.formatting import shown_duration
from storage.leases import HeldLease, acquire, held_leases, withdraw
from storage.lost_workers import Watch
from storage.process_identity import Owner
from storage.study_storage import StudyStorage
from study.doctor.finding import Finding
from study.session.session import StudySession

RELEASED = "released to the queue"


@dataclass(frozen=True)
class StudyLeases:
    """A study whose workers are watched."""

    watch: Watch
    trial_ids: frozenset[int]
    heartbeat_seconds: float
    grace_seconds: float

    @classmethod
    def of(cls, session: StudySession) -> "StudyLeases":
        """Watch a study's leases by the settings of that study."""
        seconds = session.config.storage.heartbeat_seconds
        grace = session.config.storage.grace_seconds
        database = session.storage_handle.database
        watch = Watch(database, heartbeat_seconds=seconds, grace_seconds=grace)
        ids = frozenset(trial.trial_id for trial in session.slots())
        return cls(watch, ids, seconds, grace)

    def poll(self) -> list[HeldLease]:
        """Look once; return the leases on trials of the study."""
        return [lease for trial, lease in self.watch.poll().items() if trial in self.trial_ids]

    def is_doubtful(self, lease: HeldLease) -> bool:
        """Return whether a heartbeat is old, of a process that may live."""
        return lease.age_seconds > self.grace_seconds and not self.watch.is_lost(lease)


def await_lost(
    sessions: Sequence[StudySession], *, say: Callable[[str], None]
) -> dict[int, HeldLease]:
    """Return the leases whose worker is lost, by trial id.

    A dead process of this host is known at once. Where a heartbeat is old, this waits until it has
    stood still for two of them, for after an outage every heartbeat is old.

    Args:
        sessions: The studies.
        say: Told how long this waits.
    """
    watched = [StudyLeases.of(session) for session in sessions]
    held = [one.poll() for one in watched]
    doubtful = [
        one for one, leases in zip(watched, held, strict=True) if any(map(one.is_doubtful, leases))
    ]
    if doubtful:
        seconds = max(2 * one.heartbeat_seconds for one in doubtful)
        say(f"waiting {seconds:g} s to see whether workers send heartbeats again")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(min(one.heartbeat_seconds for one in watched) / 2)
            held = [one.poll() for one in watched]
    return {
        lease.trial_id: lease
        for one, leases in zip(watched, held, strict=True)
        for lease in leases
        if one.watch.is_lost(lease)
    }


def unattended_trials(session: StudySession, lost: Mapping[int, HeldLease]) -> Iterator[Finding]:
    """Find open leases of lost workers, and running trials that nobody holds.

    Args:
        session: The study.
        lost: What `await_lost` returned.
    """
    handle = session.storage_handle
    held = held_leases(handle.database)
    nobody = _running_without(session, held)
    for trial in session.slots():
        trial_id = trial.trial_id
        where = f"study {session.protocol.study_name}, trial {trial.number}"
        lease = lost.get(trial_id)
        if lease is not None and _is_same(lease, held.get(trial_id)):
            what = f"{trial.state.name.lower()}, held by {_worker(lease)}"
            remedy = "freed" if trial.state.is_finished() else RELEASED
            yield Finding(
                where, what, remedy, partial(release_trial, handle, trial_id, lost=lease)
            )
        elif trial_id in nobody:
            what = "running, but held by nobody"
            yield Finding(where, what, RELEASED, partial(release_trial, handle, trial_id))


def release_trial(handle: StudyStorage, trial_id: int, *, lost: HeldLease | None = None) -> bool:
    """Let a trial wait again; return False where a worker has it by now.

    Args:
        handle: The database.
        trial_id: Optuna's row number.
        lost: The lease of its lost worker, which ends; it must not have changed since.
    """
    claim = acquire(handle.database, trial_id, Owner.current(), lost=lost)
    if claim is None:
        return False
    withdraw(handle.database, claim)
    return True


def _running_without(session: StudySession, held: Mapping[int, HeldLease]) -> set[int]:
    """Return the running trials that nobody holds, as two polls see it.

    Leases and trials are read one after the other: seen once, a trial may have been claimed in
    between.
    """

    def unheld(held: Mapping[int, HeldLease]) -> set[int]:
        running = (trial for trial in session.slots() if trial.state == TrialState.RUNNING)
        return {trial.trial_id for trial in running} - held.keys()

    once = unheld(held)
    return once and once & unheld(held_leases(session.storage_handle.database))


def _is_same(lease: HeldLease, now: HeldLease | None) -> bool:
    return now is not None and (lease.attempt, lease.beat_at) == (now.attempt, now.beat_at)


def _worker(lease: HeldLease) -> str:
    owner = Owner.parse(lease.owner)
    is_dead = owner.is_known_dead(heartbeat_age_seconds=lease.age_seconds)
    state = "is dead" if is_dead else "is stale"
    age = shown_duration(lease.age_seconds)
    return f"{owner.describe()}, which {state} (last heartbeat {age} ago)"
