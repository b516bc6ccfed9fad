"""Files in a folder that others may write: a link of theirs leads no write to another file."""

import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from dashboards.tensorboard.writer import TensorBoardLog
from data.built_folder import build_once
from data.errors import DataError
from storage.addresses import parse_url
from storage.atomic_files import write_atomically
from storage.errors import RunFolderError, StorageError
from storage.init_lock import initialising
from study.configuration.config import validated
from study.creation.create import initialise
from study.stop_signal import StopFlag
from study.workers.launcher import run_workers
from tests.dashboards.conftest import build_record
from tests.study.conftest import Call

PRECIOUS = b"precious"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that only its owner means to write."""
    path = tmp_path / "victim"
    path.write_bytes(PRECIOUS)
    return path


def test_atomic_write_past_a_planted_part_is_a_new_file_of_the_usual_mode(
    victim: Path, tmp_path: Path
) -> None:
    (tmp_path / f".best.pt.{os.getpid()}.part").symlink_to(victim)
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "best.pt", b"weights")
    finally:
        os.umask(old)
    assert victim.read_bytes() == PRECIOUS
    assert (tmp_path / "best.pt").read_bytes() == b"weights"
    assert (tmp_path / "best.pt").stat().st_mode & 0o777 == 0o640


def test_atomic_write_replaces_a_planted_link_itself(victim: Path, tmp_path: Path) -> None:
    (tmp_path / "best.pt").symlink_to(victim)
    write_atomically(tmp_path / "best.pt", b"weights")
    assert victim.read_bytes() == PRECIOUS and not (tmp_path / "best.pt").is_symlink()


def test_worker_log_is_written_past_a_planted_link(
    victim: Path, tiny_settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/echo")  # instead of a worker
    session = initialise(validated(tiny_settings))
    session.paths.logs.mkdir()
    planted = session.paths.logs / f"worker-{socket.gethostname()}-{os.getpid()}-0.log"
    planted.symlink_to(victim)
    run_workers(session, [{}], stop=StopFlag())
    assert victim.read_bytes() == PRECIOUS
    (log,) = set(session.paths.logs.iterdir()) - {planted}
    assert "study worker --name tiny" in log.read_text()


def test_traceback_is_said_where_its_file_is_a_planted_link(
    victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    def app(**_options: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("study.cli.app", app)
    monkeypatch.setattr("study.error_log._folders", [])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study-error.log").symlink_to(victim)
    ended = call("status")
    assert victim.read_bytes() == PRECIOUS
    assert ended.code == 1 and "Traceback" in ended.err and "RuntimeError: a defect" in ended.err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_event_file_is_not_resumed_through_a_planted_link(victim: Path, tmp_path: Path) -> None:
    others = set(threading.enumerate())
    log = TensorBoardLog(tmp_path / "run", next_epoch=1, n_classes=10)
    log.write(build_record(1))
    (events,) = (tmp_path / "run").iterdir()
    events.unlink()
    events.symlink_to(victim)
    with pytest.raises(RunFolderError, match="symbolic links"):
        log.write(build_record(2))
    for writer in set(threading.enumerate()) - others:
        writer.join()  # pytest hears of its exception while this test runs
    assert victim.read_bytes() == PRECIOUS


def open_a_database(path: Path) -> None:
    with sqlite3.connect(path.with_name("study.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS trials (id)")
    connection.close()


def init_a_database(path: Path) -> None:
    with initialising(parse_url(f"sqlite:///{path.with_name('study.db')}")):
        pass


def build_a_cache(path: Path) -> None:
    build_once(path.with_suffix(""), lambda folder: None)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("study.db-wal", open_a_database),
        ("study.db-shm", open_a_database),
        ("study.db-journal", open_a_database),
        (".study.db.init.lock", init_a_database),
        ("images.lock", build_a_cache),
    ],
)
def test_files_that_libraries_open_are_no_way_to_another(
    victim: Path, tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    (tmp_path / name).symlink_to(victim)
    with suppress(DataError, StorageError, sqlite3.OperationalError):  # or the link is removed
        write(tmp_path / name)
    assert victim.read_bytes() == PRECIOUS
