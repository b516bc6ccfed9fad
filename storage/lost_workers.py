"""Which workers are lost.

A stale heartbeat alone proves nothing: after an outage every heartbeat is stale. So a worker
counts as lost when its heartbeat is older than the grace period by the database's clock, *and* the
observer has seen no change for two heartbeats by its own clock, polling without a gap, *and* the
database has answered the observer for a whole grace period since it last failed. Somebody may set
the database's clock: a heartbeat that the observer has seen unchanged for a whole grace period is
stale, whatever that clock says. A process that this machine knows to be dead is lost at once.
"""

import threading
import time
from collections.abc import Callable

from storage.database import Database
from storage.leases import HeldLease, held_leases
from storage.process_identity import Owner


class Watch:
    """Polls the leases of others.

    Args:
        database: Where the leases are.
        heartbeat_seconds: Time between two heartbeats of a worker, in seconds.
        grace_seconds: Age of a heartbeat, in seconds, before which no worker counts as lost.
        clock: The observer's own clock, in seconds, which never jumps.
    """

    def __init__(
        self,
        database: Database,
        *,
        heartbeat_seconds: float,
        grace_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._patience_seconds = 2 * heartbeat_seconds
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._polled_at = float("-inf")
        self._still_since: dict[tuple[int, int, float], float] = {}

    def poll(self) -> dict[int, HeldLease]:
        """Poll once; return every lease that is held, by trial id."""
        held = held_leases(self._database)
        with self._lock:
            now = self._clock()
            unbroken = now - self._polled_at <= self._patience_seconds
            before = self._still_since if unbroken else {}
            self._still_since = {
                _beat(lease): before.get(_beat(lease), now) for lease in held.values()
            }
            self._polled_at = now
        return held

    def is_lost(self, lease: HeldLease) -> bool:
        """Return whether the worker of a lease, as the last poll saw it, is lost."""
        if Owner.parse(lease.owner).is_known_dead(heartbeat_age_seconds=lease.age_seconds):
            return True
        with self._lock:
            now = self._clock()
            stood_still = now - self._still_since.get(_beat(lease), now)
        is_old = lease.age_seconds > self._grace_seconds
        needed_seconds = self._patience_seconds if is_old else self._grace_seconds
        answered_seconds = now - self._database.failed_at
        return stood_still >= needed_seconds and answered_seconds >= self._grace_seconds


def _beat(lease: HeldLease) -> tuple[int, int, float]:
    return lease.trial_id, lease.attempt, lease.beat_at
