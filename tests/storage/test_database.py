import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from storage.database import existing_url, parse_url
from storage.errors import StorageError
from storage.file_systems import file_system_of, refuse_network_file_system
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


MOUNTS = r"""
disk / ext4 rw 0 0
server:/x /shared nfs4 rw 0 0
disk /shared/local ext4 rw 0 0
host /with\040space fuse.juicefs rw 0 0
host /tab\011and\134backslash fuse.s3fs rw 0 0
disk /twice ext4 rw 0 0
host /twice virtiofs rw 0 0
automount /late autofs rw 0 0
host /late fuse.rclone rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/study.db", "ext4"),
        ("/shared/runs/study.db", "nfs4"),
        ("/shared", "nfs4"),
        ("/sharedness/study.db", "ext4"),
        ("/shared/local/study.db", "ext4"),
        ("/with space/study.db", "fuse.juicefs"),
        ("/tab\tand\\backslash/study.db", "fuse.s3fs"),
        ("/twice/study.db", "virtiofs"),
        ("/late/study.db", "fuse.rclone"),
    ],
)
def test_file_system_is_that_of_the_longest_and_last_mount(
    tmp_path: Path, path: str, kind: str
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert file_system_of(Path(path), mounts) == kind
    assert file_system_of(Path(path), tmp_path / "missing") == "unknown"


@pytest.mark.parametrize(
    "kind",
    ["nfs4", "cifs", "9p", "virtiofs", "vboxsf", "wekafs", "panfs", "ocfs2", "gfs2", "fuse.sshfs"]
    + ["fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.ceph-fuse", "fuse.vmhgfs-fuse", "prl_fs"],
)
def test_sqlite_on_a_network_file_system_is_rejected_through_symbolic_links_too(
    tmp_path: Path, kind: str
) -> None:
    mounts, shared, local = (tmp_path / name for name in ("mounts", "shared", "local"))
    mounts.write_text(f"disk / ext4 rw 0 0\nserver {shared} {kind} rw 0 0\n")
    local.mkdir()
    (local / "folder").symlink_to(shared)
    (local / "study.db").symlink_to(shared / "new" / "study.db")
    (local / "loop").symlink_to(local / "loop")
    for path in (shared / "study.db", local / "folder" / "new" / "x.db", local / "study.db"):
        with pytest.raises(StorageError, match=f"must lie on a local disk, .* is on {kind}"):
            refuse_network_file_system(path, mounts)
    for path in (local / "x.db", local / "loop" / "x.db"):
        refuse_network_file_system(path, mounts)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk"])
def test_sqlite_on_a_local_file_system_is_accepted(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"disk / {kind} rw 0 0\n")
    refuse_network_file_system(tmp_path / "study.db", mounts)


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
