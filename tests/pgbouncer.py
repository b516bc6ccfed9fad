"""A real PgBouncer in transaction mode for tests, before a server of `tests/postgresql.py`."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgresql import END_WITH_THE_TEST, PostgreSQLServer, free_port, user_rights

PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/sbin:/bin")
requires_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="needs Debian's package pgbouncer (apt-get install pgbouncer)"
)


@contextmanager
def pgbouncer(server: PostgreSQLServer, **settings: object) -> Iterator[int]:
    """Yield the port of a pooler of a server's connections, which ends with the context.

    Args:
        server: The server.
        settings: Of pgbouncer.ini, besides those without which it could not be reached.
    """
    port = free_port()
    needed = {"listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": ""}
    needed |= {"pool_mode": "transaction", "auth_type": "trust", "max_client_conn": 500}
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        (folder / "users").write_text('"tester" ""\n')
        lines = [f"{name} = {value}" for name, value in (needed | settings).items()]
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n"
            + "\n".join(["[pgbouncer]", f"auth_file = {folder}/users", *lines])
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*END_WITH_THE_TEST, *user_rights(), str(PROGRAM), str(folder / "pgbouncer.ini")],
                cwd="/",
                stdout=log,
                stderr=log,
            )
        try:
            _await_port(port, process, folder / "log")
            yield port
        finally:
            process.terminate()
            process.wait(30)


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.05)
