"""Read a database that may not answer, without waiting for it longer than wanted."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from storage.database import is_database_error
from storage.errors import DatabaseAwayError

T = TypeVar("T")


class TimedReader(Generic[T]):
    """Reads in a thread of its own, one reading at a time.

    Args:
        read: Reads once; it may hang, or fail as a database does.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._pending: Future[T] | None = None

    def read(self, seconds: float) -> T:
        """Return a new reading.

        Args:
            seconds: How long to wait for it.

        Raises:
            DatabaseAwayError: If the database fails, or does not answer in time; the next calls
                wait for a reading that hangs.
        """
        with self._lock:
            if self._pending is None or self._pending.done():  # a late answer is old
                self._pending = self._start()
            reading = self._pending
            if not wait([reading], timeout=seconds).done:
                raise DatabaseAwayError(f"no answer within {seconds:g} s")
            self._pending = None
        try:
            return reading.result()
        except Exception as error:
            if not is_database_error(error):
                raise
            reason = str(getattr(error, "orig", None) or error.__cause__ or error)
            raise DatabaseAwayError(reason.strip().partition("\n")[0]) from error

    def _start(self) -> Future[T]:
        reading: Future[T] = Future()

        def run() -> None:
            try:
                reading.set_result(self._read())
            except Exception as error:
                reading.set_exception(error)

        # A daemon: a connection that hangs must not keep the process alive.
        threading.Thread(target=run, name="timed-read", daemon=True).start()
        return reading
