"""Transactions that wait out an outage, and what the database's errors mean."""

import logging
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar, cast

import sqlalchemy
import tenacity
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine

from storage.engines import reading
from storage.errors import DatabaseAwayError, DatabaseRejectionError, first_line

T = TypeVar("T")
logger = logging.getLogger(__name__)

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
REJECTIONS = {
    "unsupported startup parameter": "the pooler rejects what storage.url or PGOPTIONS set: take "
    "it out there, or name it in ignore_startup_parameters of pgbouncer.ini",
    "read-only transaction": "name a server that can be written (a standby cannot), or set its "
    "default_transaction_read_only to off",
    "readonly database": "let this user write the file and its folder",
}
"""What does not pass, by a part of what a database says, and the remedy."""
NO_CONNECTION_LEFT = ("too many clients", "connection slots", "too many connections", "max_client")
MORE_CONNECTIONS = "raise max_connections of the server, or put PgBouncer before it"


def reason_of(error: BaseException) -> str:
    """Return what the database said, in one line, with the remedy where it has no connections."""
    said = first_line(_said(error))
    is_full = any(part in _said(error) for part in NO_CONNECTION_LEFT)
    return f"{said}: {MORE_CONNECTIONS}" if is_full else said


def find_remedy(error: BaseException) -> str | None:
    """Return the remedy of an error that does not pass by itself, None for any other."""
    remedies = (remedy for part, remedy in REJECTIONS.items() if part in _said(error))
    return next(remedies, None) if _cause(error) is not None else None


def _cause(error: BaseException) -> exc.SQLAlchemyError | None:
    causes = (error, error.__cause__)
    return next((one for one in causes if isinstance(one, exc.SQLAlchemyError)), None)


def _said(error: BaseException) -> str:
    cause = _cause(error)
    return str(getattr(cause, "orig", None) or cause or error).strip() or type(error).__name__


def is_transient(error: BaseException) -> bool:
    """Return whether the same call may succeed a moment later."""
    cause = _cause(error)
    if isinstance(cause, exc.TimeoutError | exc.PendingRollbackError):
        return True
    if not isinstance(cause, exc.OperationalError | exc.InterfaceError | exc.InternalError):
        return False
    if isinstance(cause.orig, sqlite3.Error):
        code = getattr(cause.orig, "sqlite_errorcode", 0)
        return (code & 0xFF) in TRANSIENT_SQLITE_CODES
    return find_remedy(cause) is None


def is_database_error(error: BaseException) -> bool:
    """Return whether the database rejected or was not reached, for a moment or for longer."""
    kinds = exc.SQLAlchemyError | DatabaseAwayError | DatabaseRejectionError
    return any(isinstance(cause, kinds) for cause in (error, error.__cause__))


def _log_outage(attempt: tenacity.RetryCallState) -> None:
    error = attempt.outcome.exception() if attempt.outcome else None
    logger.warning(
        "the database does not answer (%s); asking again, attempt %d",
        reason_of(error) if error else "",
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
        outage_seconds: The same; may be set anew.
        failed_at: Time of the last transient error by `time.monotonic`, in seconds.
    """

    def __init__(self, engine: Engine, *, outage_seconds: float) -> None:
        self.engine = engine
        self.failed_at = float("-inf")
        self._must_leave: Callable[[], bool] = lambda: False
        self.outage_seconds = outage_seconds
        self.patience = patience(outage_seconds).copy(
            stop=self._gives_up,
            sleep=self._sleep,
            after=self._note_failure,
        )

    def leave_when(self, must_leave: Callable[[], bool]) -> None:
        """Wait out no further outage once `must_leave()`; the error passes through instead.

        A call is asked once more all the same: the first may have met a connection that was cut
        long ago, and a new one is there at once.
        """
        self._must_leave = must_leave

    def _gives_up(self, attempt: tenacity.RetryCallState) -> bool:
        is_over = tenacity.stop_after_delay(self.outage_seconds)(attempt)
        return is_over or (attempt.attempt_number > 1 and self._must_leave())

    def _note_failure(self, _attempt: tenacity.RetryCallState) -> None:
        self.failed_at = time.monotonic()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._must_leave():
            time.sleep(0.05)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return `work(connection)` from one transaction that only reads."""
        with reading():
            return cast(T, self.ask(self._transact, work))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return `work(connection)` from one committed transaction.

        After a transient error the whole of `work` runs again, so it must bear repetition.
        """
        return cast(T, self.ask(self._transact, work))

    def ask(self, call: Callable[..., T], *args: object, **options: object) -> T:
        """Return what a call returns, repeated while its errors are transient.

        Raises:
            DatabaseRejectionError: If the database rejects what it will reject again.
        """
        try:
            return self.patience(call, *args, **options)
        except Exception as error:
            remedy = find_remedy(error)
            if remedy is None:
                raise
            raise DatabaseRejectionError(
                f"storage.url must lead to a database that accepts this, it answers "
                f"({reason_of(error)}): {remedy}"
            ) from error

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
