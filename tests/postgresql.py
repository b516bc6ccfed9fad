"""A real PostgreSQL server for tests, started on a free port in a temporary folder."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
requires_postgresql = pytest.mark.skipif(
    not BINARIES, reason="needs Debian's package postgresql (apt-get install postgresql)"
)


@contextmanager
def running_server() -> Iterator[str]:
    """Yield the URL of a new, empty database; the server ends with the context."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    try:
        _run("initdb", "--pgdata", f"{folder}/data", "--username", "tester", "--auth", "trust")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        _run("pg_ctl", "start", "-w", "-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log")
        try:
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
        finally:
            _run("pg_ctl", "stop", "-w", "-D", f"{folder}/data", "-m", "immediate")
    finally:
        shutil.rmtree(folder)


def _run(program: str, *arguments: str) -> None:
    command = [str(BINARIES[-1] / program), *arguments]
    if os.geteuid() == 0:  # the server refuses to run as root
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
