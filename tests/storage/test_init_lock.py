import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.addresses import parse_url
from storage.errors import StorageError
from storage.init_lock import SAY_AFTER_SECONDS, initialising
from tests.pgbouncer import pgbouncer, requires_pgbouncer
from tests.postgresql import postgresql_server, requires_postgresql

HOLD_THE_LOCK = """
import sys
from storage.addresses import parse_url
from storage.init_lock import initialising
with initialising(parse_url(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""
on_a_server = [pytest.mark.slow, requires_postgresql]


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with postgresql_server() as server:
        yield server.url()


@pytest.fixture(scope="module")
def pooled_url() -> Iterator[str]:
    with postgresql_server() as server, pgbouncer(server, default_pool_size=3) as port:
        yield server.url(port=port)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("server_url", marks=on_a_server),
        pytest.param("pooled_url", marks=[*on_a_server, requires_pgbouncer]),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    is_file = request.param == "sqlite"
    return f"sqlite:///{tmp_path}/a.db" if is_file else request.getfixturevalue(request.param)


@contextmanager
def held_by_another(url: str) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock, which it leaves with the context."""
    command = [sys.executable, "-c", HOLD_THE_LOCK, url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "mine\n"
        try:
            yield other
        finally:
            other.kill()


def test_init_lock_lets_one_in_at_a_time(url: str) -> None:
    inside, most = 0, 0

    def enter(_index: int) -> None:
        nonlocal inside, most
        with initialising(parse_url(url)):
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0.02)
            inside -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(8)))
    assert most == 1


def test_init_lock_of_a_stopped_process_is_not_waited_for_without_end(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with held_by_another(url) as other:
        other.send_signal(signal.SIGSTOP)
        holder = f"study, pid {other.pid} on {os.uname().nodename}"
        rejection = pytest.raises(StorageError, match=f"{holder}.* holds it: let that process")
        with (
            caplog.at_level(logging.WARNING),
            rejection,
            initialising(parse_url(url), patience_seconds=SAY_AFTER_SECONDS + 0.5),
        ):
            pass
    (said,) = caplog.messages
    assert said.startswith(f"waiting for {holder}") and "holds the init lock of" in said


def test_init_lock_of_a_killed_process_is_free(url: str) -> None:
    with held_by_another(url):
        pass
    with initialising(parse_url(url)):
        pass


def test_two_links_to_one_sqlite_file_share_the_init_lock(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.db").symlink_to(tmp_path / "a.db")
    with (
        initialising(parse_url(f"sqlite:///{tmp_path}/a.db")),
        pytest.raises(StorageError, match=f"pid {os.getpid()} on"),
        initialising(parse_url(f"sqlite:///{tmp_path}/elsewhere/link.db"), patience_seconds=0),
    ):
        pass
