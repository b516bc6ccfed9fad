import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from storage.database import existing_url, file_system_of, parse_url
from storage.errors import StorageError
from storage.study_storage import StudyStorage


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("nonsense", "must be a database URL"),
        ("mysql://host/name", "SQLite or PostgreSQL"),
        ("postgresql://host/name", "SQLite or PostgreSQL through psycopg"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
    ],
)
def test_parse_url_of_another_kind_is_refused(url: str, hint: str) -> None:
    with pytest.raises(StorageError, match=hint):
        parse_url(url)


def test_parse_url_never_shows_the_password() -> None:
    with pytest.raises(StorageError) as refusal:
        parse_url("mysql://me:secret@host/name")
    assert "secret" not in str(refusal.value)
    with pytest.raises(StorageError) as refusal:
        parse_url("postgresql//me:secret@host/name")
    assert "secret" not in str(refusal.value)
    assert "secret" not in repr(parse_url("postgresql+psycopg://me:secret@host/name"))


def test_file_system_of_a_network_mount_is_told_by_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("disk / ext4 rw 0 0\nserver:/x /shared nfs4 rw 0 0\n")
    assert file_system_of(Path("/shared/runs/study.db"), mounts) == "nfs4"
    assert file_system_of(Path("/home/study.db"), mounts) == "ext4"
    assert file_system_of(Path("/home/study.db"), tmp_path / "missing") == "unknown"


def test_existing_url_survives_braces_and_spaces(tmp_path: Path) -> None:
    odd = tmp_path / "a {b} c"
    text = existing_url(make_url(f"sqlite:///{odd}/study.db"))
    assert "{" not in text and " " not in text
    assert text.endswith("?mode=rw&uri=true")


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
