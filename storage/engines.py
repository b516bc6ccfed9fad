"""Engine settings of both databases.

SQLite runs in WAL mode with `synchronous=FULL`; writers take the lock when they begin (`BEGIN
IMMEDIATE`), readers never do. Without that two workers can claim the same trial (reference: Optuna
FAQ "sqlite_concurrency"; 13 of 60 trials ran twice with SQLite's defaults).

On PostgreSQL a process has one connection at most, and none while it is busy with something else.
What a session needs is set by each transaction for itself, and nothing when connecting: a pooler
that gives a transaction any connection (PgBouncer) loses the one and rejects the other.
"""

import functools
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool
from sqlalchemy.util.queue import Empty

from storage.addresses import sqlite_path
from storage.errors import DatabaseReplacedError
from storage.process_identity import process_label
from storage.read_only_sqlite import reader_options
from storage.sqlite_files import connect_shared, share_companions

BUSY_TIMEOUT_SECONDS = 60
CONNECT_TIMEOUT_SECONDS = 5
SILENCE_SECONDS = 30  # after which a PostgreSQL server that answers nothing counts as gone
IDLE_SECONDS = 0.5  # after which a connection is closed; a burst of transactions shares one
TRANSACTION_SETTINGS = (
    "SET LOCAL timezone TO 'UTC'; SET LOCAL idle_in_transaction_session_timeout TO 60000"
)

_reading: ContextVar[bool] = ContextVar("reading", default=False)


@contextmanager
def reading() -> Iterator[None]:
    """Mark the transactions begun inside as readers, which take no write lock on SQLite."""
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


def reading_options(url: URL) -> dict[str, Any]:
    """Return what an engine needs besides to read a SQLite file that cannot be written."""
    if url.drivername != "sqlite":
        return {}
    return reader_options(sqlite_path(url), busy_seconds=BUSY_TIMEOUT_SECONDS)


def engine_options(url: URL, *, read_only: bool = False, pooled: bool = True) -> dict[str, Any]:
    """Return the keyword arguments of `sqlalchemy.create_engine` for an address.

    Args:
        url: The address.
        read_only: Whether the database is only read.
        pooled: Whether a connection is kept for the next transaction.
    """
    options: dict[str, Any] = {} if pooled else {"poolclass": NullPool}
    if url.drivername == "sqlite":
        unwritable = reading_options(url) if read_only else {}
        return options | (unwritable or {"connect_args": _sqlite_arguments(url)})
    if pooled:
        options |= {"poolclass": OneConnection, "pool_size": 1, "max_overflow": 0}
        options |= {"pool_timeout": BUSY_TIMEOUT_SECONDS}
    return options | {"connect_args": connect_arguments(url)}


def _sqlite_arguments(url: URL) -> dict[str, Any]:
    factory = functools.partial(connect_shared, sqlite_path(url))
    return {"timeout": BUSY_TIMEOUT_SECONDS, "factory": factory}


def connect_arguments(url: URL) -> dict[str, Any]:
    """Return what psycopg is given besides the address, which may say otherwise."""
    usual = {
        "application_name": process_label(),
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "keepalives_idle": SILENCE_SECONDS // 3,
        "keepalives_interval": SILENCE_SECONDS // 3,
        "keepalives_count": 2,
        "tcp_user_timeout": SILENCE_SECONDS * 1000,
    }
    fixed = {
        "client_encoding": "utf8",  # also of a database that knows no encoding
        # Behind a pooler the next transaction may run on a connection without what this one
        # prepared.
        "prepare_threshold": None,
    }
    return {name: value for name, value in usual.items() if name not in url.query} | fixed


class OneConnection(QueuePool):
    """A pool of one connection, which is closed when nobody has used it for a moment."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._watching = threading.Lock()
        self._is_watched = False
        self._returned_at = 0.0
        self._holder = 0

    def _do_get(self) -> ConnectionPoolEntry:
        if self._holder == threading.get_ident():  # it would wait for itself
            raise RuntimeError(
                "a thread must not ask for a second connection within a transaction"
            )
        entry = super()._do_get()
        self._holder = threading.get_ident()
        return entry

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self._holder = 0
        super()._do_return_conn(record)
        with self._watching:
            self._returned_at = time.monotonic()
            if self._is_watched:
                return
            self._is_watched = True
        threading.Thread(target=self._close_when_idle, name="idle", daemon=True).start()

    def _close_when_idle(self) -> None:
        while not self._is_idle():
            time.sleep(IDLE_SECONDS / 2)
        try:
            entry = self._pool.get(block=False)
        except Empty:  # in use: its return begins another watch
            return
        entry.close()
        super()._do_return_conn(entry)

    def _is_idle(self) -> bool:
        with self._watching:
            is_idle = time.monotonic() - self._returned_at >= IDLE_SECONDS
            self._is_watched = not is_idle
            return is_idle


def prepare_engine(engine: Engine, url: URL, *, read_only: bool = False) -> None:
    """Attach to an engine what its transactions begin with.

    Args:
        engine: A new engine, in SQLite of a file that exists.
        url: Its checked address.
        read_only: Whether the database is to reject writes; no write lock is taken then.
    """
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine, sqlite_path(url), read_only=read_only)
    else:
        _prepare_postgresql(engine, read_only=read_only)
    # Connections opened before the listeners were there must not be used again.
    engine.dispose()


def _file_at(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file; no new one gets them while a connection is open."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _prepare_sqlite(engine: Engine, path: Path, *, read_only: bool) -> None:
    opened = _file_at(path)

    @sqlalchemy.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        if read_only:
            connection.execute("PRAGMA query_only=ON")
            return
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        share_companions(path)

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # SQLite goes on with a file that was removed or replaced, which nobody else will read.
        if (found := _file_at(path)) != opened:
            raise DatabaseReplacedError(
                f"storage.url must stay the file that was opened, {path} was "
                f"{'replaced' if found else 'removed'} since: nothing more is written; put the "
                "file back, or start again"
            )
        connection.exec_driver_sql("BEGIN" if read_only or _reading.get() else "BEGIN IMMEDIATE")


def _prepare_postgresql(engine: Engine, *, read_only: bool) -> None:
    statement = f"BEGIN{' READ ONLY' if read_only else ''}; {TRANSACTION_SETTINGS}"

    @sqlalchemy.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.autocommit = True  # psycopg begins nothing, so that one message does

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)
