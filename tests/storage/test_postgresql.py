"""Several nodes share a study through PostgreSQL: Optuna's conformance suite, leases and a run."""

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase

from storage.errors import StudyNotFoundError
from storage.leases import acquire, held_leases, send_heartbeat
from storage.process_identity import Owner
from storage.study_storage import StudyStorage, create_study_storage, open_study_storage
from tests.postgresql import requires_postgresql, running_server
from tests.storage.note_rules import NOTE_RULES
from tests.storage.races import (
    race_for_leases,
    race_for_takeovers,
    race_of_a_claim_and_a_deletion,
    takeover_of_what_no_longer_runs_is_rejected,
)

pytestmark = [
    pytest.mark.slow,
    requires_postgresql,
    # Optuna's suite pickles storages and lets the copies go without closing their connections.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture
def handle(server: str) -> Iterator[StudyStorage]:
    opened = create_study_storage(server, outage_seconds=5)
    yield opened
    opened.remove_session()
    opened.engine.dispose()
    gc.collect()  # here, where the warning is expected, and not in some later test


class TestConformance(StorageTestCase):
    """Optuna's own suite for storages."""

    @pytest.fixture
    def storage(self, handle: StudyStorage) -> BaseStorage:
        for study in handle.get_all_studies():
            handle.delete_study(study._study_id)
        return handle


class TestConformanceCached(StorageTestCase):
    """The same behind the cache that studies use."""

    @pytest.fixture
    def storage(self, handle: StudyStorage) -> BaseStorage:
        for study in handle.get_all_studies():
            handle.delete_study(study._study_id)
        return optuna.storages.get_storage(handle)


def test_empty_database_is_no_study_and_many_inits_at_once_make_one() -> None:
    with running_server() as url:
        with pytest.raises(StudyNotFoundError):
            open_study_storage(url, outage_seconds=1)
        with ThreadPoolExecutor(6) as pool:
            handles = list(
                pool.map(lambda _: create_study_storage(url, outage_seconds=5), "abcdef")
            )
        for opened in handles:
            opened.engine.dispose()


def test_acquire_by_many_at_once_is_granted_to_one(handle: StudyStorage, server: str) -> None:
    assert race_for_leases(server, n_workers=8, n_trials=20) == 20


def test_takeover_by_many_at_once_is_granted_to_one(handle: StudyStorage, server: str) -> None:
    assert race_for_takeovers(server, n_workers=6, n_trials=30) == 30


def test_claim_and_deletion_at_once_are_one_or_the_other(
    handle: StudyStorage, server: str
) -> None:
    print("studies deleted:", race_of_a_claim_and_a_deletion(server, n_studies=30), "of 30")


def test_takeover_of_a_trial_that_no_longer_runs_is_rejected(handle: StudyStorage) -> None:
    takeover_of_what_no_longer_runs_is_rejected(handle)


def test_lease_that_stood_still_is_imported_by_one_swap(handle: StudyStorage) -> None:
    first, second, third = (Owner(f"host-{index}", "boot", 1, "1") for index in (1, 2, 3))
    old = acquire(handle.database, 8000, first)
    assert old is not None
    assert acquire(handle.database, 8000, second) is None
    seen = held_leases(handle.database)[8000]
    assert 0 <= seen.age_seconds < 5
    new = acquire(handle.database, 8000, second, lost=seen)
    assert new is not None and new.reclaimed
    assert acquire(handle.database, 8000, third, lost=seen) is None
    assert not send_heartbeat(handle.database, old)
    assert send_heartbeat(handle.database, new)


@pytest.mark.parametrize("rule", NOTE_RULES)
def test_note_on_postgresql(rule: Callable[[StudyStorage], None], handle: StudyStorage) -> None:
    rule(handle)
