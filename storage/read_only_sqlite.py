"""SQLite databases that one may only read.

To read a database in WAL mode, SQLite makes files beside it. Where it cannot, it rejects; where
only the database is closed to this user, the owner could not open what it makes. A database that
nobody has open can be read without them, as a file that does not change. That is decided anew for
each connection, for whoever may write there may go on with the study.

Source: https://www.sqlite.org/wal.html, "Read-Only Databases".
"""

import functools
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy

from storage.access import describe_obstacle
from storage.errors import AccessDeniedError, StorageError
from storage.sqlite_files import companions, is_writable


def reader_options(path: Path, *, busy_seconds: float) -> dict[str, Any]:
    """Return what `sqlalchemy.create_engine` needs besides to read a file.

    Args:
        path: The database.
        busy_seconds: How long a lock is waited for, in seconds.

    Returns:
        Keyword arguments; none where all of it can be written, so that SQLite helps itself.
    """
    path = path.resolve()  # SQLite's other files lie beside the file itself, not beside a link
    if is_writable(path):
        return {}
    # No connection is kept: the next one may have to be of another mode.
    return {
        "poolclass": sqlalchemy.NullPool,
        "creator": functools.partial(_connect, path, busy_seconds),
    }


def reader_mode(path: Path) -> str:
    """Return how to open a database that cannot be written, as part of its URI.

    Raises:
        StorageError: If its newest changes lie in a log that cannot be read there.
    """
    log, index = companions(path)
    if not log.exists():
        return "mode=ro&immutable=1"
    if index.exists():
        return "mode=ro"
    raise StorageError(
        f"storage.url must be a database without a log of changes where it cannot be written, "
        f"{log} is there: copy both files to a folder of yours, and give that"
    )


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    for file in (path, *companions(path)):
        if file.exists() and not os.access(file, os.R_OK):
            raise AccessDeniedError(
                f"storage.url must be a database that you can read, {file} cannot be: "
                f"{describe_obstacle(file)}"
            )
    address = f"file:{quote(str(path))}?{reader_mode(path)}"
    opened = sqlite3.connect(address, uri=True, timeout=busy_seconds, check_same_thread=False)
    try:
        opened.execute("SELECT 1 FROM sqlite_schema").close()
    finally:
        _remove_own(path)
    return opened


def _remove_own(path: Path) -> None:
    """Remove an empty log that SQLite has just made, because the last writer removed its own.

    The owner of the database could not open it.
    """
    log, index = companions(path)
    with suppress(OSError):
        found = log.stat()
        if found.st_uid == os.geteuid() and not found.st_size and not os.access(path, os.W_OK):
            log.unlink()
            index.unlink()
