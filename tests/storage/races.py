"""Races that every database must survive."""

import threading
from concurrent.futures import ThreadPoolExecutor

import optuna
from optuna.trial import TrialState

from storage.errors import StorageError
from storage.leases import (
    HeldLease,
    Lease,
    acquire,
    acquire_waiting,
    end,
    held_leases,
    read_endings,
    release,
)
from storage.process_identity import Owner
from storage.study_deletion import delete_whole_study
from storage.study_storage import StudyStorage, open_study_storage
from storage.tables import attempts


def race_for_leases(url: str, *, n_workers: int, n_trials: int) -> int:
    """Let workers claim the same trials at once; return how many claims were granted."""
    barrier = threading.Barrier(n_workers)
    handles = [open_study_storage(url, outage_seconds=30) for _ in range(n_workers)]

    def claim_all(index: int) -> int:
        barrier.wait()
        owner = Owner("another-host", "boot", index, "1")
        leases = [
            acquire(handles[index].database, 9000 + trial, owner) for trial in range(n_trials)
        ]
        return sum(lease is not None for lease in leases)

    with ThreadPoolExecutor(n_workers) as pool:
        n_granted = sum(pool.map(claim_all, range(n_workers)))
    for opened in handles:
        opened.engine.dispose()
    return n_granted


def takeover_of_what_no_longer_runs_is_rejected(handle: StudyStorage) -> None:
    """Let trials wait or end between the look at a lost worker and the takeover."""
    study = optuna.create_study(storage=handle)
    first, second = (Owner(f"host-{index}", "boot", 1, "1") for index in (1, 2))

    def take(seen: HeldLease, *, running: bool = True) -> Lease | None:
        return acquire(handle.database, seen.trial_id, second, lost=seen, running=running)

    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING)
    for slot, state in enumerate(states):
        study.add_trial(optuna.create_trial(state=TrialState.WAITING, user_attrs={"slot": slot}))
        lease = acquire_waiting(handle.database, study._study_id, first, last=set())
        assert lease is not None
        trial_id = lease.trial_id
        seen = held_leases(handle.database)[trial_id]
        if state == TrialState.WAITING:
            release(handle.database, lease, "preempted")
        else:  # told, and not yet freed
            value = [0.5] if state == TrialState.COMPLETE else None
            handle.set_trial_state_values(trial_id, state, value)
        before = read_endings(handle.database, [trial_id])
        assert take(seen) is None
        assert read_endings(handle.database, [trial_id]) == before
        assert handle.get_trial(trial_id).state == state
        asked_for = take(seen, running=False)
        assert asked_for is not None and asked_for.attempt == 2
        end(handle.database, asked_for, "a test")


def race_for_takeovers(url: str, *, n_workers: int, n_trials: int) -> int:
    """Let workers reclaim the same lost trials at once; return how many were granted."""
    barrier = threading.Barrier(n_workers)
    handles = [open_study_storage(url, outage_seconds=30) for _ in range(n_workers)]
    ids = [7000 + trial for trial in range(n_trials)]
    for trial_id in ids:
        acquire(handles[0].database, trial_id, Owner("another-host", "boot", 99, "1"))
    seen = held_leases(handles[0].database)

    def take_all(index: int) -> int:
        granted = 0
        for trial_id in ids:
            barrier.wait()
            owner = Owner("another-host", "boot", index, "1")
            lease = acquire(handles[index].database, trial_id, owner, lost=seen[trial_id])
            granted += lease is not None
        return granted

    with ThreadPoolExecutor(n_workers) as pool:
        n_granted = sum(pool.map(take_all, range(n_workers)))
    held = [lease for trial_id, lease in held_leases(handles[0].database).items()]
    assert {lease.attempt for lease in held if lease.trial_id in ids} == {2}
    for opened in handles:
        opened.engine.dispose()
    return n_granted


def race_of_a_claim_and_a_deletion(url: str, *, n_studies: int) -> int:
    """Claim the trials of studies while these are deleted; return how many were deleted."""
    barrier = threading.Barrier(2)
    claiming, deleting = (open_study_storage(url, outage_seconds=30) for _ in range(2))
    studies = [optuna.create_study(storage=claiming) for _ in range(n_studies)]
    for study in studies:
        study.enqueue_trial({}, user_attrs={"slot": 0})
    ids = [study._study_id for study in studies]
    owner = Owner("host-of-this-race", "boot", 1, "1")  # other tests leave leases of theirs

    def claim_all() -> list[bool]:
        granted = []
        for study_id in ids:
            barrier.wait()
            lease = acquire_waiting(claiming.database, study_id, owner, last=set())
            granted.append(lease is not None)
        return granted

    def delete_all() -> list[bool]:
        deleted = []
        for study_id in ids:
            barrier.wait()
            try:
                delete_whole_study(deleting, study_id, grace=600)
                deleted.append(True)
            except StorageError:
                deleted.append(False)
        return deleted

    with ThreadPoolExecutor(2) as pool:
        claims, deletions = pool.submit(claim_all), pool.submit(delete_all)
        granted, deleted = claims.result(), deletions.result()
    assert [not each for each in granted] == deleted
    left = {study._study_id for study in claiming.get_all_studies()}
    assert left.isdisjoint(study_id for study_id, gone in zip(ids, deleted, strict=True) if gone)
    trial_ids = {
        trial._trial_id
        for study_id in left.intersection(ids)
        for trial in claiming.get_all_trials(study_id)
    }
    with claiming.engine.connect() as connection:
        held = connection.execute(attempts.select().where(attempts.c.owner == str(owner)))
        assert {row.trial_id for row in held} == trial_ids
    for opened in (claiming, deleting):
        opened.remove_session()
        opened.engine.dispose()
    return sum(deleted)
