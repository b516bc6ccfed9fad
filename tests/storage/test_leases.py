import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from storage.errors import LeaseLostError, StorageError
from storage.leases import (
    Heartbeat,
    Lease,
    acquire,
    acquire_waiting,
    end,
    held_leases,
    is_held,
    read_endings,
    read_owners,
    record_death,
    reject_other_machines,
    release,
    send_heartbeat,
    withdraw,
)
from storage.process_identity import Owner
from storage.records import EpochRecord, put_epoch, read_epochs
from storage.study_storage import StudyStorage, open_study_storage
from tests.storage.races import (
    race_for_leases,
    race_for_takeovers,
    race_of_a_claim_and_a_deletion,
    takeover_of_what_no_longer_runs_is_rejected,
)
from tests.tools.backups import copy_database
from tests.tools.processes import wait_until

ME = Owner.current()
ELSEWHERE = Owner("another-host", "another-boot", 1, "1")
CLONE = replace(ME, boot=f"{ME.boot.split(':')[0]}:another-boot:1")
"""A process on a machine that was cloned with its name and machine-id."""
EPOCH = EpochRecord(1, *(0.5,) * 12)


def claim(handle: StudyStorage, owner: Owner) -> Lease | None:
    return acquire(handle.database, 1, owner)


def take_over(handle: StudyStorage, owner: Owner) -> Lease:
    while True:  # the owner may send a heartbeat between reading and claiming
        lease = acquire(handle.database, 1, owner, lost=held_leases(handle.database)[1])
        if lease is not None:
            return lease


def test_acquire_held_trial_is_rejected_and_free_one_granted(handle: StudyStorage) -> None:
    first = claim(handle, ELSEWHERE)
    assert first == Lease(1, str(ELSEWHERE), attempt=1)
    assert claim(handle, ME) is None
    end(handle.database, first, "preempted")
    second = claim(handle, ME)
    assert second == Lease(1, str(ME), attempt=2)
    assert read_endings(handle.database, [1, 2]) == {1: ["preempted", None]}


def test_acquire_after_a_lost_answer_returns_the_same_lease(handle: StudyStorage) -> None:
    assert claim(handle, ME) == claim(handle, ME)


def test_take_over_ends_the_lost_attempt_and_the_old_owner_notices(handle: StudyStorage) -> None:
    old = claim(handle, ELSEWHERE)
    assert old is not None
    new = take_over(handle, ME)
    assert new.reclaimed and new.attempt == 2
    assert not send_heartbeat(handle.database, old)
    assert send_heartbeat(handle.database, new)
    end(handle.database, old, "complete")
    assert held_leases(handle.database)[1].owner == str(ME)
    assert read_endings(handle.database, [1]) == {1: ["lost", None]}


def test_take_over_of_a_lease_that_beat_since_is_rejected(handle: StudyStorage) -> None:
    old = claim(handle, ELSEWHERE)
    assert old is not None
    seen = held_leases(handle.database)[1]
    time.sleep(0.01)
    assert send_heartbeat(handle.database, old)
    assert acquire(handle.database, 1, ME, lost=seen) is None
    assert read_endings(handle.database, [1]) == {1: [None]}


def test_lease_of_another_history_is_lost_in_a_restored_database(
    handle: StudyStorage, tmp_path: Path
) -> None:
    copy_database(tmp_path / "study.db", tmp_path / "backup.db")
    old = claim(handle, ELSEWHERE)
    restored = open_study_storage(f"sqlite:///{tmp_path}/backup.db", outage_seconds=5)
    database = restored.database
    mine = claim(restored, ME)
    assert old is not None and mine is not None and old.attempt == mine.attempt
    seen = held_leases(database)
    assert not send_heartbeat(database, old) and not is_held(database, old)
    end(database, old, "complete")
    release(database, old, "preempted")
    withdraw(database, old)
    heartbeat = Heartbeat(database, old, seconds=60, between=lambda: None)
    with pytest.raises(LeaseLostError):
        heartbeat.within(lambda connection: put_epoch(connection, 1, EPOCH))
    assert held_leases(database)[1].beat_at == seen[1].beat_at and is_held(database, mine)
    foreign = replace(seen[1], owner=str(ELSEWHERE))
    assert acquire(database, 1, CLONE, lost=foreign) is None
    restored.engine.dispose()


def test_claim_and_deletion_at_once_are_one_or_the_other(
    handle: StudyStorage, tmp_path: Path
) -> None:
    race_of_a_claim_and_a_deletion(f"sqlite:///{tmp_path}/study.db", n_studies=10)


def test_takeover_of_a_trial_that_no_longer_runs_is_rejected(handle: StudyStorage) -> None:
    takeover_of_what_no_longer_runs_is_rejected(handle)


def test_fruitless_attempts_count_only_lost_attempts_without_a_new_epoch(
    handle: StudyStorage,
) -> None:
    first = claim(handle, ELSEWHERE)
    assert first is not None and first.fruitless_attempts == 0
    assert take_over(handle, ME).fruitless_attempts == 1
    handle.database.write(lambda connection: put_epoch(connection, 1, EPOCH))
    assert take_over(handle, ELSEWHERE).fruitless_attempts == 0
    held = take_over(handle, ME)
    assert held.fruitless_attempts == 1
    end(handle.database, held, "preempted")
    again = claim(handle, ELSEWHERE)
    assert again is not None and again.fruitless_attempts == 1  # no retry spent, none refunded


@pytest.mark.parametrize("is_reclaimed", [False, True])
def test_recorded_death_is_named_counts_as_lost_and_releases_what_nobody_has_reclaimed(
    handle: StudyStorage, is_reclaimed: bool
) -> None:
    study = optuna.create_study(storage=handle)
    study.enqueue_trial({}, user_attrs={"slot": 0})
    acquire_waiting(handle.database, 1, ELSEWHERE, last=set())
    assert record_death(handle.database, ME, "lost: SIGSEGV") == []
    if is_reclaimed:
        assert take_over(handle, ME).fruitless_attempts == 1
    for _ in range(2):  # a retry returns the same
        assert record_death(handle.database, ELSEWHERE, "lost: SIGSEGV") == [1]
    endings = ["lost: SIGSEGV", *([None] if is_reclaimed else [])]
    assert read_endings(handle.database, [1]) == {1: endings}
    state = TrialState.RUNNING if is_reclaimed else TrialState.WAITING
    assert handle.get_trial(1).state == state
    if not is_reclaimed:
        lease = acquire_waiting(handle.database, 1, ME, last=set())
        assert lease == Lease(1, str(ME), attempt=2, fruitless_attempts=1, reclaimed=True)


def test_withdrawn_claim_leaves_no_row_and_the_lost_attempt_still_counts(
    handle: StudyStorage,
) -> None:
    claim(handle, ELSEWHERE)
    mine = take_over(handle, ME)
    withdraw(handle.database, mine)
    assert read_endings(handle.database, [1]) == {1: ["lost"]}
    assert held_leases(handle.database) == {}
    again = claim(handle, ELSEWHERE)
    assert again == Lease(1, str(ELSEWHERE), attempt=2, fruitless_attempts=1, reclaimed=True)
    withdraw(handle.database, mine)
    assert held_leases(handle.database)[1].owner == str(ELSEWHERE)
    assert read_owners(handle.database, [1, 2]) == {1: {ELSEWHERE}}


def test_acquire_by_many_at_once_is_granted_to_one(handle: StudyStorage, tmp_path: Path) -> None:
    assert race_for_leases(f"sqlite:///{tmp_path}/study.db", n_workers=8, n_trials=10) == 10


def test_takeover_by_many_at_once_is_granted_to_one(handle: StudyStorage, tmp_path: Path) -> None:
    assert race_for_takeovers(f"sqlite:///{tmp_path}/study.db", n_workers=6, n_trials=5) == 5


def test_heartbeat_renews_and_rejects_to_write_after_a_takeover(handle: StudyStorage) -> None:
    lease = claim(handle, ELSEWHERE)
    assert lease is not None
    looks: list[int] = []
    beats = {held_leases(handle.database)[1].beat_at}

    def has_beaten_thrice() -> bool:
        beats.add(held_leases(handle.database)[1].beat_at)
        return len(beats) > 3

    with Heartbeat(
        handle.database, lease, seconds=0.05, between=lambda: looks.append(1)
    ) as heartbeat:
        wait_until(has_beaten_thrice, "three beats", seconds=30)
        assert looks
        heartbeat.confirm()
        heartbeat.within(lambda connection: put_epoch(connection, 1, EPOCH))
        take_over(handle, ME)
        with pytest.raises(LeaseLostError, match="reclaimed"):
            heartbeat.within(lambda connection: put_epoch(connection, 1, replace(EPOCH, epoch=2)))
        with pytest.raises(LeaseLostError, match="reclaimed"):
            heartbeat.confirm()
    assert [row.epoch for row in read_epochs(handle.database, [1])[1]] == [1]


@pytest.mark.parametrize("owner", [ELSEWHERE, CLONE], ids=["another machine", "a clone of ours"])
def test_sqlite_is_rejected_while_another_machine_beats_in_it(
    handle: StudyStorage, owner: Owner
) -> None:
    claim(handle, owner)

    def reject() -> None:
        held = [*held_leases(handle.database).values()]
        reject_other_machines(handle.database, held, grace=5)

    with pytest.raises(StorageError, match=rf"{owner.host}.*postgresql\+psycopg://"):
        reject()
    with handle.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE attempts SET beat_at = beat_at - 6")
    reject()


@pytest.mark.parametrize("boot", [ME.boot, f":{ME.boot.split(':')[1]}:1"])
def test_sqlite_is_shared_within_one_machine(handle: StudyStorage, boot: str) -> None:
    claim(handle, replace(ME, host="a-container", boot=boot))
    reject_other_machines(handle.database, [*held_leases(handle.database).values()], grace=600)
