import inspect
import pickle
import re
import sqlite3
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, _cached_storage
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState
from sqlalchemy import exc, make_url

from storage.errors import StorageError, StudyNotFoundError
from storage.leases import acquire_waiting
from storage.process_identity import Owner
from storage.study_storage import (
    StudyStorage,
    _rejections,
    create_study_storage,
    open_study_storage,
    reject_read_only,
)


def test_open_missing_database_is_rejected_and_creates_no_file(tmp_path: Path) -> None:
    with pytest.raises(StudyNotFoundError, match="study init"):
        open_study_storage(f"sqlite:///{tmp_path}/none.db", outage_seconds=1)
    assert list(tmp_path.iterdir()) == []


def test_open_foreign_database_is_rejected_and_unchanged(tmp_path: Path) -> None:
    foreign = sqlite3.connect(tmp_path / "other.db")
    foreign.execute("CREATE TABLE things (name TEXT)")
    foreign.close()
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(StudyNotFoundError):
        open_study_storage(f"sqlite:///{tmp_path}/other.db", outage_seconds=1)
    assert (tmp_path / "other.db").read_bytes() == before


def test_open_file_that_is_no_database_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database\n" * 200)
    with pytest.raises(StorageError, match="not a database"):
        open_study_storage(f"sqlite:///{tmp_path}/notes.txt", outage_seconds=1)


def test_driver_that_gives_no_reason_is_told_by_its_kind() -> None:
    with (
        pytest.raises(StorageError, match=r"\(OperationalError\)"),
        _rejections(make_url("sqlite:///x")),
    ):
        raise exc.OperationalError("SELECT 1", None, sqlite3.OperationalError())


def test_open_tables_of_another_version_is_rejected(handle: StudyStorage, tmp_path: Path) -> None:
    with handle.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE service_version SET version = 99")
    with pytest.raises(StorageError, match="holds 99"):
        open_study_storage(f"sqlite:///{tmp_path}/study.db", outage_seconds=1)


def test_create_twice_keeps_what_is_there(handle: StudyStorage, tmp_path: Path) -> None:
    optuna.create_study(storage=handle, study_name="kept")
    again = create_study_storage(f"sqlite:///{tmp_path}/study.db", outage_seconds=1)
    assert [study.study_name for study in again.get_all_studies()] == ["kept"]
    again.engine.dispose()


def test_database_that_cannot_be_written_is_rejected_in_one_line(
    handle: StudyStorage, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    reject_read_only(handle, url)
    with handle.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(StorageError, match="readonly database"):
        reject_read_only(handle, url)


def test_pickled_storage_keeps_its_engine_settings(handle: StudyStorage) -> None:
    copy = pickle.loads(pickle.dumps(handle))
    with copy.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    assert copy.database.engine is copy.engine
    copy.engine.dispose()


class TestConformance(StorageTestCase):
    """Optuna's own suite for storages."""

    @pytest.fixture
    def storage(self, handle: StudyStorage) -> BaseStorage:
        return handle


@pytest.mark.slow
class TestConformanceCached(StorageTestCase):
    """The same behind the cache that studies use."""

    @pytest.fixture
    def storage(self, handle: StudyStorage) -> BaseStorage:
        return optuna.storages.get_storage(handle)


def test_all_that_optuna_s_cache_asks_for_waits_out_an_outage() -> None:
    source = inspect.getsource(_cached_storage)
    asked = set(re.findall(r"_backend\.(\w+)", source))
    heartbeat_only = {name for name in asked if "heartbeat" in name or "stale" in name}
    assert len(asked - heartbeat_only) > 15
    for name in asked - heartbeat_only:
        assert hasattr(getattr(StudyStorage, name), "__wrapped__"), name


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_trial_lasts_as_long_as_it_took_in_every_time_zone(
    handle: StudyStorage, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    study = optuna.create_study(storage=handle)
    waiting = optuna.trial.create_trial(state=TrialState.WAITING, user_attrs={"slot": 0})
    study.add_trial(waiting)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", zone)
        time.tzset()
        acquire_waiting(handle.database, study._study_id, Owner.current(), last=set())
        study.tell(0, 0.5)
    time.tzset()
    duration = study.trials[0].duration
    assert duration is not None and 0 <= duration.total_seconds() < 60
