"""SQLite databases in folders that one may only read.

To read a database in WAL mode, SQLite makes files beside it, and rejects where it cannot. One that
nobody has open can be read without them, as a file that does not change. That is decided anew for
each connection, for whoever may write there may go on with the study.

Source: https://www.sqlite.org/wal.html, "Read-Only Databases".
"""

import functools
import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy

from storage.errors import StorageError


def reader_options(path: Path, *, busy_seconds: float) -> dict[str, Any]:
    """Return what `sqlalchemy.create_engine` needs besides to read a file.

    Args:
        path: The database.
        busy_seconds: How long a lock is waited for, in seconds.

    Returns:
        Keyword arguments; none where the folder can be written, so that SQLite helps itself.
    """
    path = path.resolve()  # SQLite's other files lie beside the file itself, not beside a link
    if os.access(path.parent, os.W_OK):
        return {}
    # No connection is kept: the next one may have to be of another mode.
    return {
        "poolclass": sqlalchemy.NullPool,
        "creator": functools.partial(_connect, path, busy_seconds),
    }


def reader_mode(path: Path) -> str:
    """Return how to open a database whose folder cannot be written, as part of its URI.

    Raises:
        StorageError: If its newest changes lie in a log that cannot be read there.
    """
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    if not log.exists():
        return "mode=ro&immutable=1"
    if index.exists():
        return "mode=ro"
    raise StorageError(
        f"storage.url must be a database without a log of changes where its folder cannot be "
        f"written, {log} is there: copy both files to a folder of yours, and give that"
    )


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?{reader_mode(path)}"
    return sqlite3.connect(address, uri=True, timeout=busy_seconds, check_same_thread=False)
