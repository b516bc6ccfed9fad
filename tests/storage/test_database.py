import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from storage.study_storage import StudyStorage


def test_sqlite_connections_are_durable_and_journaled(handle: StudyStorage) -> None:
    with handle.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_read_transaction_goes_on_while_another_process_writes(
    handle: StudyStorage, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    handle.database.read(lambda connection: handle.database.now(connection))
    assert time.monotonic() - start < 20  # a writer waits a minute for the lock
    other.execute("ROLLBACK")
    other.close()


def test_write_waits_until_another_process_lets_go(handle: StudyStorage, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(1.0, lambda: other.execute("ROLLBACK"))
    start = time.monotonic()
    release.start()
    handle.database.write(
        lambda connection: connection.exec_driver_sql("DELETE FROM attempts").rowcount
    )
    assert time.monotonic() - start > 0.8
    release.join()
    other.close()


class Failing:
    """Work that fails a few times as if the database were locked."""

    def __init__(self, *, times: int) -> None:
        self.times = times
        self.calls = 0

    def __call__(self, _connection: object) -> str:
        self.calls += 1
        if self.calls <= self.times:
            locked = sqlite3.OperationalError("database is locked")
            locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise OperationalError("SELECT 1", {}, locked)
        return "done"


def test_who_leaves_asks_once_more_and_waits_for_nothing(handle: StudyStorage) -> None:
    handle.database.leave_when(lambda: True)
    assert handle.database.write(Failing(times=1)) == "done"
    away = Failing(times=2)
    with pytest.raises(OperationalError, match="locked"):
        handle.database.write(away)
    assert away.calls == 2


def test_transient_error_is_repeated_and_a_mistake_is_not(handle: StudyStorage) -> None:
    fails_once = Failing(times=1)
    assert handle.database.write(fails_once) == "done"
    assert fails_once.calls == 2
    with pytest.raises(OperationalError, match="no such table"):
        handle.database.read(lambda connection: connection.exec_driver_sql("SELECT 1 FROM nope"))
