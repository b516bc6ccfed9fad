"""A real PostgreSQL server for tests, on a free port in a temporary folder."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psycopg
import pytest
import sqlalchemy

END_WITH_THE_TEST = ("setpriv", "--pdeathsig", "QUIT")
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
        options = ["--pgdata", f"{folder}/data", "--username", "tester", "--auth", "trust"]
        subprocess.run(
            ["setpriv", *user_rights(), BINARIES[-1] / "initdb", *options],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
        )

    def start(self, **settings: object) -> None:
        """Start the server, with settings of postgresql.conf, and wait until it answers."""
        where = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        where += ["-c", "listen_addresses=127.0.0.1", "-p", str(self.port)]
        where += ["-c", f"unix_socket_directories={self.folder}", "-D", f"{self.folder}/data"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*END_WITH_THE_TEST, *user_rights(), BINARIES[-1] / "postgres", *where],
                cwd="/",
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 60
        while subprocess.run(self._client("pg_isready", "-q"), cwd="/").returncode != 0:
            log_text = (self.folder / "log").read_text()
            assert self._process.poll() is None and time.monotonic() < until, log_text
            time.sleep(0.05)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server: `fast` ends its sessions first, `immediate` is a crash."""
        self._process.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        self._process.wait(60)

    def is_running(self) -> bool:
        """Return whether it was started and not stopped."""
        return self._process.poll() is None

    def _client(self, program: str, *arguments: str) -> list[str]:
        place = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "tester"]
        return [str(BINARIES[-1] / program), *place, *arguments]

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Return the address of a database, by way of another port where a proxy listens."""
        return f"postgresql+psycopg://tester@127.0.0.1:{port or self.port}/{database}"

    def run_sql(self, statement: str, database: str = "postgres") -> list[str]:
        """Run a statement outside a transaction; return the lines of its answer."""
        command = self._client("psql", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc", statement)
        return subprocess.check_output(command, cwd="/", text=True).splitlines()

    def cut_connections(self, url: str) -> None:
        """End every session of a database."""
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
        self.run_sql(f"{end}'{url.rpartition('/')[2]}'")

    def create_database(self, *options: str) -> str:
        """Create a new, empty database; return its name."""
        name = f"test_{next(self._numbers)}"
        subprocess.run(self._client("createdb", *options, name), check=True, cwd="/")
        return name


@contextmanager
def postgresql_server(**settings: object) -> Iterator[PostgreSQLServer]:
    """Yield a running server, which ends with the context, and this process's connections with it.

    A connection that a test leaves open would warn whenever Python collects it, in any test.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    port = free_port()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        server = PostgreSQLServer(folder, port)
        server.start(**settings)
        connections: list[psycopg.Connection] = []

        def remember(connection: object, _record: object) -> None:
            if isinstance(connection, psycopg.Connection) and connection.info.port == port:
                connections.append(connection)

        sqlalchemy.event.listen(sqlalchemy.Pool, "connect", remember)
        try:
            yield server
        finally:
            sqlalchemy.event.remove(sqlalchemy.Pool, "connect", remember)
            for connection in connections:
                connection.close()
            if server.is_running():
                server.stop("immediate")
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_server() -> Iterator[str]:
    """Yield the URL of a new, empty database; the server ends with the context."""
    with postgresql_server() as server:
        yield server.url()


def free_port() -> int:
    """Return a port that nobody listens to."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def user_rights() -> list[str]:
    """Return the options of `setpriv` for a server that refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
