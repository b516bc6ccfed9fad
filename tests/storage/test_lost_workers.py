import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from storage.database import Database
from storage.leases import HeldLease, acquire, send_heartbeat
from storage.lost_workers import Watch
from storage.process_identity import Owner
from storage.study_storage import StudyStorage

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


def poll(watch: Watch, clock: Clock, *, after: float, age: float) -> HeldLease:
    """Look after so many seconds; the heartbeat seen has the given age by the database's clock."""
    clock.seconds += after
    return replace(watch.poll()[1], age_seconds=age)


def test_old_beat_is_lost_only_after_it_stood_still_for_two_beats(
    handle: StudyStorage, watch: Watch, clock: Clock
) -> None:
    acquire(handle.database, 1, ELSEWHERE)
    assert not watch.is_lost(poll(watch, clock, after=0, age=10_000))
    assert not watch.is_lost(poll(watch, clock, after=59, age=10_000))
    assert watch.is_lost(poll(watch, clock, after=1, age=10_000))
    assert not watch.is_lost(poll(watch, clock, after=1, age=GRACE))


def test_beat_between_two_looks_saves_a_worker(
    handle: StudyStorage, watch: Watch, clock: Clock
) -> None:
    lease = acquire(handle.database, 1, ELSEWHERE)
    assert lease is not None
    poll(watch, clock, after=0, age=10_000)
    poll(watch, clock, after=50, age=10_000)
    time.sleep(0.01)  # SQLite's clock counts milliseconds
    assert send_heartbeat(handle.database, lease)
    assert not watch.is_lost(poll(watch, clock, after=20, age=10_000))
    poll(watch, clock, after=50, age=10_000)
    assert watch.is_lost(poll(watch, clock, after=10, age=10_000))


def test_gap_between_two_looks_begins_the_watch_anew(
    handle: StudyStorage, watch: Watch, clock: Clock
) -> None:
    acquire(handle.database, 1, ELSEWHERE)
    poll(watch, clock, after=0, age=10_000)
    assert not watch.is_lost(poll(watch, clock, after=61, age=10_000))
    assert watch.is_lost(poll(watch, clock, after=60, age=10_000))


def test_nobody_is_lost_until_the_database_has_answered_for_one_grace_period(
    handle: StudyStorage, watch: Watch, clock: Clock
) -> None:
    acquire(handle.database, 1, ELSEWHERE)
    handle.database.failed_at = clock.seconds
    for _ in range(11):
        assert not watch.is_lost(poll(watch, clock, after=50, age=10_000))
    assert watch.is_lost(poll(watch, clock, after=50, age=10_000))


def test_dead_process_of_this_machine_is_lost_at_once(
    handle: StudyStorage, watch: Watch, clock: Clock
) -> None:
    acquire(handle.database, 1, replace(Owner.current(), pid=2**22 + 1, started="1"))
    assert watch.is_lost(poll(watch, clock, after=0, age=0))


def test_worker_that_stood_still_for_a_grace_period_is_lost_though_the_clock_was_set_back(
    handle: StudyStorage, watch: Watch, clock: Clock
) -> None:
    acquire(handle.database, 1, ELSEWHERE)
    poll(watch, clock, after=0, age=-7200)
    for _ in range(11):
        assert not watch.is_lost(poll(watch, clock, after=50, age=-7200))
    assert watch.is_lost(poll(watch, clock, after=50, age=-7200))


class OneLease(Database):
    """A database of one lease, whose clock says what it is told to."""

    def __init__(self) -> None:
        super().__init__(sqlalchemy.create_engine("sqlite://"), outage_seconds=0)
        self.beat_at, self.now_at = 0.0, 0.0

    def read(self, work: Callable[[Connection], Any]) -> Any:
        """Return the lease as `held_leases` selects it."""
        row = {"trial_id": 1, "attempt": 1, "owner": str(ELSEWHERE)}
        return [SimpleNamespace(**row, beat_at=self.beat_at, now=self.now_at)]


clock_jumps = st.floats(-1e5, 1e5)
looks = st.tuples(st.floats(0, HEARTBEAT), clock_jumps)
"""Time since the look before, in seconds, and by how much the database's clock was set."""


@given(st.lists(looks, max_size=40))
def test_worker_that_beats_is_never_lost_whatever_the_database_s_clock_does(
    history: list[tuple[float, float]],
) -> None:
    clock, database, heartbeat_age_seconds = Clock(), OneLease(), 0.0
    watch = Watch(database, heartbeat_seconds=HEARTBEAT, grace_seconds=GRACE, clock=clock)
    watch.poll()
    for number, (seconds, jump) in enumerate(history):
        clock.seconds += seconds
        database.now_at += seconds + jump + number * 1e-6  # no two beats at the same time
        heartbeat_age_seconds += seconds
        if heartbeat_age_seconds >= HEARTBEAT:
            heartbeat_age_seconds, database.beat_at = 0.0, database.now_at
        assert not watch.is_lost(watch.poll()[1])


@given(st.lists(clock_jumps, min_size=20, max_size=20))
def test_dead_worker_is_lost_after_one_grace_period_whatever_the_database_s_clock_does(
    jumps: list[float],
) -> None:
    clock, database = Clock(), OneLease()
    watch = Watch(database, heartbeat_seconds=HEARTBEAT, grace_seconds=GRACE, clock=clock)
    watch.poll()
    for jump in jumps:
        clock.seconds += HEARTBEAT
        database.now_at += HEARTBEAT + jump
        watch.poll()
    assert watch.is_lost(watch.poll()[1])
