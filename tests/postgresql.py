"""A real PostgreSQL server for tests, on a free port in a temporary folder."""

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
requires_postgresql = pytest.mark.skipif(
    not BINARIES, reason="needs Debian's package postgresql (apt-get install postgresql)"
)


class PostgreSQLServer:
    """A server that may be stopped and started again on the same port.

    Args:
        folder: Holds its data, socket and log.
        port: Where it listens.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._numbers = itertools.count(1)
        _run("initdb", "--pgdata", f"{folder}/data", "--username", "tester", "--auth", "trust")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        where = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        options = f"-p {self.port} {where}"
        self._control("start", "-o", options, "-l", f"{self.folder}/log")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server: `fast` ends its sessions first, `immediate` is a crash."""
        self._control("stop", "-m", mode)

    def _control(self, action: str, *arguments: str) -> None:
        _run("pg_ctl", action, "-w", "-D", f"{self.folder}/data", *arguments)

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Return the address of a database, by way of another port where a proxy listens."""
        return f"postgresql+psycopg://tester@127.0.0.1:{port or self.port}/{database}"

    def create_database(self) -> str:
        """Create a new, empty database; return its name."""
        name = f"test_{next(self._numbers)}"
        _run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "tester", name)
        return name


@contextmanager
def postgresql_server() -> Iterator[PostgreSQLServer]:
    """Yield a running server, which ends with the context."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        server = PostgreSQLServer(folder, port)
        server.start()
        try:
            yield server
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                server.stop("immediate")
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_server() -> Iterator[str]:
    """Yield the URL of a new, empty database; the server ends with the context."""
    with postgresql_server() as server:
        yield server.url()


def _run(program: str, *arguments: str) -> None:
    command = [str(BINARIES[-1] / program), *arguments]
    if os.geteuid() == 0:  # the server refuses to run as root
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
