"""Readings of a database that may not answer, by someone who does not want to wait for it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from storage.database import is_database_error
from storage.errors import DatabaseAwayError

T = TypeVar("T")


class Lookout(Generic[T]):
    """Reads in a thread of its own, one reading at a time.

    Args:
        read: Reads once; it may hang, or fail as a database does.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._pending: Future[T] | None = None

    def look(self, seconds: float) -> T:
        """Return what is read now.

        Args:
            seconds: How long to wait for it.

        Raises:
            DatabaseAwayError: If the database refuses, or does not answer in time; a reading that
                hangs is waited for by the next looks.
        """
        with self._lock:
            if self._pending is None or self._pending.done():  # what came too late is old
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

        # A daemon, for a connection that hangs must not keep the process.
        threading.Thread(target=run, name="lookout", daemon=True).start()
        return reading
