"""Races that every database must survive."""

import threading
from concurrent.futures import ThreadPoolExecutor

from storage.leases import acquire, held_leases
from storage.owners import Owner
from storage.study_storage import open_study_storage


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


def race_for_takeovers(url: str, *, n_workers: int, n_trials: int) -> int:
    """Let workers take over the same lost trials at once; return how many were granted."""
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
