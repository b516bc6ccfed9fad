"""Database addresses, engine settings and transactions that wait out an outage.

SQLite runs in WAL mode with `synchronous=FULL`; writers take the lock when they begin (`BEGIN
IMMEDIATE`), readers never do. Without that two workers can claim the same trial (reference: Optuna
FAQ "sqlite_concurrency"; 13 of 60 trials ran twice with SQLite's defaults).
"""

import logging
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

import sqlalchemy
import tenacity
from filelock import FileLock
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, Engine, make_url

from storage.errors import DatabaseAwayError, StorageError, first_line
from storage.file_systems import refuse_network_file_system
from storage.unwritable import reader_options

T = TypeVar("T")
logger = logging.getLogger(__name__)

BUSY_TIMEOUT_SECONDS = 60
CONNECT_TIMEOUT_SECONDS = 5
SILENCE_SECONDS = 30  # after which a PostgreSQL server that answers nothing counts as gone
TRANSIENT_SQLITE_CODES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
    }
)
LONGEST_WAIT_SECONDS = 5.0
INIT_LOCK_KEY = 5_748_261  # any fixed number: the advisory lock that guards `study init`

_reading: ContextVar[bool] = ContextVar("reading", default=False)


def parse_url(text: str) -> URL:
    """Check a database address.

    Args:
        text: What the user gave as `storage.url`.

    Returns:
        The parsed URL; printing it hides the password.

    Raises:
        StorageError: If it is no URL, of another database, or SQLite on a network file system.
    """
    remedy = "use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
    try:
        url = make_url(text)
    except (exc.ArgumentError, ValueError):
        shown = re.sub(r":.*@", ":***@", text)
        raise StorageError(
            f"storage.url must be a database URL, got {shown!r}: {remedy}"
        ) from None
    if url.drivername == "sqlite":
        if not url.database or url.database == ":memory:":
            raise StorageError(f"storage.url must name a file, got {str(url)!r}: {remedy}")
        refuse_network_file_system(sqlite_path(url))
    elif url.drivername != "postgresql+psycopg":
        raise StorageError(
            f"storage.url must be SQLite or PostgreSQL through psycopg, got {str(url)!r}: {remedy}"
        )
    return url


def sqlite_path(url: URL) -> Path:
    """Return the absolute path of a SQLite address."""
    return Path(url.database or "").absolute()


def existing_url(url: URL) -> str:
    """Return the address in a form that never creates a missing SQLite file.

    Braces are percent-encoded, for Optuna applies `str.format` to its URL.
    """
    if url.drivername != "sqlite":
        return url.render_as_string(hide_password=False).replace("{", "%7B").replace("}", "%7D")
    return f"sqlite:///file:{quote(str(sqlite_path(url)))}?mode=rw&uri=true"


def reading_options(url: URL) -> dict[str, Any]:
    """Return what an engine needs besides to read a SQLite file that cannot be written."""
    if url.drivername != "sqlite":
        return {}
    return reader_options(sqlite_path(url), busy_seconds=BUSY_TIMEOUT_SECONDS)


def engine_options(url: URL, *, read_only: bool = False) -> dict[str, Any]:
    """Return the keyword arguments of `sqlalchemy.create_engine` for an address."""
    if url.drivername == "sqlite":
        options = reading_options(url) if read_only else {}
        return options or {"connect_args": {"timeout": BUSY_TIMEOUT_SECONDS}}
    session_options = "-c timezone=UTC -c idle_in_transaction_session_timeout=60000"
    if read_only:
        session_options += " -c default_transaction_read_only=on"
    return {
        "pool_size": 2,
        "max_overflow": 3,
        "pool_recycle": 300,
        "connect_args": {
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "keepalives_idle": SILENCE_SECONDS // 3,
            "keepalives_interval": SILENCE_SECONDS // 3,
            "keepalives_count": 2,
            "tcp_user_timeout": SILENCE_SECONDS * 1000,
            "options": session_options,
            # Behind a pooler the next transaction may run on a connection without what this one
            # prepared.
            "prepare_threshold": None,
        },
    }


def prepare_engine(engine: Engine, *, read_only: bool = False) -> None:
    """Attach SQLite's settings to an engine; PostgreSQL needs none here.

    Args:
        engine: A new engine.
        read_only: Whether SQLite is to refuse to write; it takes no write lock then.
    """
    if engine.dialect.name != "sqlite":
        return

    @sqlalchemy.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        if read_only:
            connection.execute("PRAGMA query_only=ON")
            return
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only or _reading.get() else "BEGIN IMMEDIATE")

    # Connections opened before the listeners were there must not be used again.
    engine.dispose()


@contextmanager
def reading() -> Iterator[None]:
    """Mark the transactions begun inside as readers, which take no write lock on SQLite."""
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


def is_transient(error: BaseException) -> bool:
    """Return whether the same call may succeed a moment later."""
    cause = error if isinstance(error, exc.SQLAlchemyError) else error.__cause__
    if isinstance(cause, exc.TimeoutError | exc.PendingRollbackError):
        return True
    if not isinstance(cause, exc.OperationalError | exc.InterfaceError | exc.InternalError):
        return False
    if isinstance(cause.orig, sqlite3.Error):
        code = getattr(cause.orig, "sqlite_errorcode", 0)
        return (code & 0xFF) in TRANSIENT_SQLITE_CODES
    return True


def is_database_error(error: BaseException) -> bool:
    """Return whether the database refused or was not reached, for a moment or for longer."""
    causes = (error, error.__cause__)
    return any(isinstance(cause, exc.SQLAlchemyError | DatabaseAwayError) for cause in causes)


def _log_outage(attempt: tenacity.RetryCallState) -> None:
    error = attempt.outcome.exception() if attempt.outcome else None
    cause = getattr(error, "orig", None) or (error and error.__cause__) or error
    logger.warning(
        "the database does not answer (%s); asking again, attempt %d",
        first_line(cause),
        attempt.attempt_number + 1,
    )


def patience(outage_seconds: float) -> tenacity.Retrying:
    """Return a caller that repeats a call while its errors are transient, for so many seconds."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_transient),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=LONGEST_WAIT_SECONDS),
        stop=tenacity.stop_after_delay(outage_seconds),
        before_sleep=_log_outage,
        reraise=True,
    )


class Database:
    """One engine and its short transactions.

    Args:
        engine: An engine that `prepare_engine` has seen.
        outage_seconds: How long transient errors are waited out, in seconds.

    Attributes:
        failed_at: Time of the last transient error by `time.monotonic`, in seconds.
    """

    def __init__(self, engine: Engine, *, outage_seconds: float) -> None:
        self.engine = engine
        self.failed_at = float("-inf")
        self._must_leave: Callable[[], bool] = lambda: False
        tired = tenacity.stop_after_delay(outage_seconds)
        self.patience = patience(outage_seconds).copy(
            stop=lambda attempt: tired(attempt) or self._is_enough_to_leave(attempt),
            sleep=self._sleep,
            after=self._note_failure,
        )

    def leave_when(self, must_leave: Callable[[], bool]) -> None:
        """Wait out no further outage once `must_leave()`; the error passes through instead.

        A call is asked once more all the same: the first may have met a connection that was cut
        long ago, and a new one is there at once.
        """
        self._must_leave = must_leave

    def _is_enough_to_leave(self, attempt: tenacity.RetryCallState) -> bool:
        return attempt.attempt_number > 1 and self._must_leave()

    def _note_failure(self, _attempt: tenacity.RetryCallState) -> None:
        self.failed_at = time.monotonic()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._must_leave():
            time.sleep(0.05)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return `work(connection)` from one transaction that only reads."""
        with reading():
            return cast(T, self.patience(self._transact, work))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return `work(connection)` from one committed transaction.

        After a transient error the whole of `work` runs again, so it must bear repetition.
        """
        return cast(T, self.patience(self._transact, work))

    def _transact(self, work: Callable[[Connection], T]) -> T:
        with self.engine.begin() as connection:
            return work(connection)

    @property
    def clock(self) -> sqlalchemy.ColumnElement[float]:
        """The database's clock in seconds since 1970, UTC, as part of a statement."""
        return sqlalchemy.literal_column(
            "(julianday('now') - 2440587.5) * 86400.0"
            if self.engine.dialect.name == "sqlite"
            else "extract(epoch FROM clock_timestamp())::float8",
            sqlalchemy.Float,
        )

    def now(self, connection: Connection) -> float:
        """Return the database's clock in seconds since 1970, UTC."""
        return float(connection.execute(sqlalchemy.select(self.clock)).scalar_one())


@contextmanager
def initialising(url: URL) -> Iterator[None]:
    """Let one process at a time create tables and fill a queue."""
    if url.drivername == "sqlite":
        path = sqlite_path(url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_name(f".{path.name}.init.lock"))
            lock.acquire()
        except OSError as error:
            raise StorageError(
                f"storage.url must lie in a folder that can be written, {path.parent} cannot "
                f"({error.strerror}): choose another folder"
            ) from None
        try:
            yield
        finally:
            lock.release()
        return
    engine = sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT"
    )
    connection = engine.connect()
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({INIT_LOCK_KEY})")
    try:
        yield
    finally:  # the lock ends with its connection, also where that was cut
        connection.invalidate()
        connection.close()
