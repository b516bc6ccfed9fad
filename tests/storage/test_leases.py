import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import LeaseLostError
from storage.leases import Heartbeat, Lease, Owner, acquire, beat, give_back, owners
from storage.records import EpochRecord, record_epoch
from storage.study_storage import StudyStorage
from tests.storage.races import race_for_leases

ME = Owner.current()
ELSEWHERE = Owner("another-host", "boot", 1, "1")
EPOCH = EpochRecord(1, *(0.5,) * 12)


def claim(handle: StudyStorage, owner: Owner, *, grace: float = 600) -> Lease | None:
    return acquire(handle.database, 1, owner, grace_seconds=grace)


def test_owner_survives_its_text_form() -> None:
    assert Owner.parse(str(ME)) == ME


def test_owner_of_this_process_is_alive_and_of_a_killed_one_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    other = replace(ME, pid=child.pid, started=fields[19])
    assert not ME.is_known_dead()
    assert not other.is_known_dead()
    child.kill()
    time.sleep(0.2)
    assert other.is_known_dead()  # not yet waited for: a zombie counts as dead
    child.communicate()
    assert other.is_known_dead()
    assert replace(ME, boot="before").is_known_dead()
    assert not ELSEWHERE.is_known_dead()
    assert ME.host == socket.gethostname()


def test_acquire_held_trial_is_refused_and_free_one_granted(handle: StudyStorage) -> None:
    first = claim(handle, ELSEWHERE)
    assert first == Lease(1, str(ELSEWHERE), attempt=1)
    assert claim(handle, ME) is None
    give_back(handle.database, first)
    second = claim(handle, ME)
    assert second == Lease(1, str(ME), attempt=2)


def test_acquire_after_a_lost_answer_returns_the_same_lease(handle: StudyStorage) -> None:
    assert claim(handle, ME) == claim(handle, ME)


def test_acquire_stale_lease_takes_over_and_the_old_owner_notices(handle: StudyStorage) -> None:
    old = claim(handle, ELSEWHERE)
    assert old is not None
    time.sleep(0.3)
    assert claim(handle, ME, grace=600) is None
    new = claim(handle, ME, grace=0.1)
    assert new is not None and new.taken_over and new.attempt == 2
    assert not beat(handle.database, old)
    assert beat(handle.database, new)
    give_back(handle.database, old)
    assert owners(handle.database)[1][0] == str(ME)


def test_acquire_of_a_dead_process_on_this_host_waits_for_nothing(handle: StudyStorage) -> None:
    dead = replace(ME, pid=2**22 + 1, started="1")
    assert claim(handle, dead) is not None
    taken = claim(handle, ME)
    assert taken is not None and taken.taken_over


def test_fruitless_attempts_count_only_lost_attempts_without_a_new_epoch(
    handle: StudyStorage,
) -> None:
    dead = [replace(ME, pid=2**22 + i, started="1") for i in range(1, 5)]
    assert claim(handle, dead[0]).fruitless_attempts == 0  # type: ignore[union-attr]
    assert claim(handle, dead[1]).fruitless_attempts == 1  # type: ignore[union-attr]
    record_epoch(handle.database, 1, EPOCH)
    assert claim(handle, dead[2]).fruitless_attempts == 0  # type: ignore[union-attr]
    held = claim(handle, dead[3])
    assert held is not None and held.fruitless_attempts == 1
    give_back(handle.database, held)
    assert claim(handle, ME).fruitless_attempts == 0  # type: ignore[union-attr]


def test_acquire_by_many_at_once_is_granted_to_one(handle: StudyStorage, tmp_path: Path) -> None:
    assert race_for_leases(f"sqlite:///{tmp_path}/study.db", n_workers=8, n_trials=10) == 10


def test_heartbeat_renews_and_confirm_raises_after_a_takeover(handle: StudyStorage) -> None:
    lease = claim(handle, ELSEWHERE)
    assert lease is not None
    with Heartbeat(handle.database, lease, seconds=0.05) as heartbeat:
        time.sleep(0.5)
        assert owners(handle.database)[1][1] < 0.4
        heartbeat.confirm()
        with handle.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE leases SET owner = 'x/y/1/2', attempt = 2")
        with pytest.raises(LeaseLostError, match="taken over"):
            heartbeat.confirm()
