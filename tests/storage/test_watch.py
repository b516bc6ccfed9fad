import time
from dataclasses import replace

import pytest

from storage.leases import HeldLease, acquire, beat
from storage.owners import Owner
from storage.study_storage import StudyStorage
from storage.watch import Watch

ELSEWHERE = Owner("another-host", "another-boot", 1, "1")
HEARTBEAT, GRACE = 30.0, 600.0


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(handle: StudyStorage, clock: Clock) -> Watch:
    return Watch(handle.database, heartbeat_seconds=HEARTBEAT, grace_seconds=GRACE, clock=clock)


def look(watch: Watch, clock: Clock, *, after: float, age: float) -> HeldLease:
    """Look after so many seconds; the beat seen has the given age by the database's clock."""
    clock.seconds += after
    return replace(watch.look()[1], age_seconds=age)


def test_old_beat_is_lost_only_after_it_stood_still_for_two_beats(
    handle: StudyStorage, watch: Watch, clock: Clock
) -> None:
    acquire(handle.database, 1, ELSEWHERE)
    assert not watch.is_lost(look(watch, clock, after=0, age=10_000))
    assert not watch.is_lost(look(watch, clock, after=59, age=10_000))
    assert watch.is_lost(look(watch, clock, after=1, age=10_000))
    assert not watch.is_lost(look(watch, clock, after=1, age=GRACE))


def test_beat_between_two_looks_saves_a_worker(
    handle: StudyStorage, watch: Watch, clock: Clock
) -> None:
    lease = acquire(handle.database, 1, ELSEWHERE)
    assert lease is not None
    look(watch, clock, after=0, age=10_000)
    look(watch, clock, after=50, age=10_000)
    time.sleep(0.01)  # SQLite's clock counts milliseconds
    assert beat(handle.database, lease)
    assert not watch.is_lost(look(watch, clock, after=20, age=10_000))
    look(watch, clock, after=50, age=10_000)
    assert watch.is_lost(look(watch, clock, after=10, age=10_000))


def test_gap_between_two_looks_begins_the_watch_anew(
    handle: StudyStorage, watch: Watch, clock: Clock
) -> None:
    acquire(handle.database, 1, ELSEWHERE)
    look(watch, clock, after=0, age=10_000)
    assert not watch.is_lost(look(watch, clock, after=61, age=10_000))
    assert watch.is_lost(look(watch, clock, after=60, age=10_000))


def test_nobody_is_lost_until_the_database_has_answered_for_one_grace_period(
    handle: StudyStorage, watch: Watch, clock: Clock
) -> None:
    acquire(handle.database, 1, ELSEWHERE)
    handle.database.failed_at = clock.seconds
    for _ in range(11):
        assert not watch.is_lost(look(watch, clock, after=50, age=10_000))
    assert watch.is_lost(look(watch, clock, after=50, age=10_000))


def test_dead_process_of_this_machine_is_lost_at_once(
    handle: StudyStorage, watch: Watch, clock: Clock
) -> None:
    acquire(handle.database, 1, replace(Owner.current(), pid=2**22 + 1, started="1"))
    assert watch.is_lost(look(watch, clock, after=0, age=0))
