"""How a worker is asked to stop: a flag that signals set and the loop polls at every batch.

A handler that raised could strike between a claim and its lease; a flag cannot.
"""

import os
import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
LAUNCHER_PID = "STUDY_LAUNCHER_PID"


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """The worker was asked to stop in the middle of an epoch, which is dropped."""


class StopFlag:
    """Set by the first signal; the second ends the process at once."""

    def __init__(self) -> None:
        self._signalled = False
        self._launcher = int(os.environ.get(LAUNCHER_PID, "0"))

    def install(self) -> "StopFlag":
        """Listen to SIGTERM, SIGINT and SIGUSR1, save those that the launcher has ignored."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._signalled:
            os._exit(128 + number)
        self._signalled = True

    @property
    def is_set(self) -> bool:
        """Whether to stop: a signal came, or the launcher that started this worker is gone."""
        return self._signalled or (self._launcher != 0 and os.getppid() != self._launcher)

    def interrupting(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass batches through.

        Raises:
            StopRequested: As soon as the flag is set.
        """
        for batch in batches:
            if self.is_set:
                raise StopRequested
            yield batch
