"""How a worker stops: a flag that signals set and the loop polls at every batch.

A handler that raised could strike between a claim and its lease; a flag cannot. Python runs its
handlers only between two steps of the main thread, which may stand in one call for long (a locked
database, a dead connection), so a thread of its own hears the signals and keeps the time.
"""

import ctypes
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn, TypeVar

from study.errors import StudyError

T = TypeVar("T")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
LAUNCHER_DIED = signal.SIGUSR2
"""Sent by the kernel: once for each thread of the launcher, which die one after the other."""
HEARD = (*SIGNALS, LAUNCHER_DIED)
REPEATED = (signal.SIGHUP, LAUNCHER_DIED)
"""Signals of one cause that come several times: no second one. Shell and kernel send SIGHUP."""
PR_SET_PDEATHSIG = 1
LAUNCHER_PID = "STUDY_LAUNCHER_PID"
INTERRUPTED = 130
WORKER_GRACE_SECONDS = 8.0
KILLED_AFTER_SECONDS = 12.0
LAUNCHER_GRACE_SECONDS = 20.0
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+){unit})?" for unit in UNITS))
EPOCH_MARGIN = 1.25
MEANINGS = {
    signal.SIGUSR1: "the time limit of the Slurm task is near",
    signal.SIGTERM: "`study run` or Slurm ends it: stopped, preempted or requeued",
    signal.SIGINT: "Ctrl-C",
    signal.SIGHUP: "the terminal is gone",
    LAUNCHER_DIED: "`study run` is gone",
}
DROPS_EPOCH = "finished epochs are kept, the one under way is dropped"
"""What a stop costs whoever trains."""


def follow_launcher() -> None:
    """Leave Ctrl-C to the launcher, if there is one, and hear `LAUNCHER_DIED` when it is gone.

    The kernel's signal reaches a process too that polls nothing: call this before anything heavy
    is imported, for an import may hang.
    """
    if LAUNCHER_PID in os.environ:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, LAUNCHER_DIED)


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """A stop signal came in the middle of an epoch, which is dropped."""


class StopFlag:
    """Set by the first signal, or when the time is over; a second signal ends at once.

    Args:
        after_seconds: Time until the flag sets itself; None: never.
    """

    def __init__(self, *, after_seconds: float | None = None) -> None:
        self._signalled = False
        self._signal: signal.Signals | None = None
        self._launcher = int(os.environ.get(LAUNCHER_PID, "0"))
        self._until = float("inf") if after_seconds is None else time.monotonic() + after_seconds

    def install(
        self,
        *,
        grace_seconds: float | None = None,
        exit_code: int = 0,
        costs: str = DROPS_EPOCH,
    ) -> "StopFlag":
        """Listen to the signals of `HEARD`, save those that are ignored.

        Until then signals have their default action, which ends a process wherever it stands. So
        install it when everything heavy is imported: a process that is stuck in native code (a
        library that waits for memory) hears nothing, and before that nothing can be lost.

        Args:
            grace_seconds: Time to leave in order after a signal; when it is over the process ends
                wherever it stands, which loses no more than its epoch. None: as long as it takes.
            exit_code: Of a process that ends so.
            costs: What is said at once when a signal comes; a worker leaves it to its launcher.
        """
        listened = {number for number in HEARD if signal.getsignal(number) is not signal.SIG_IGN}
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in listened:  # after the pipe, or a signal in between would go unheard
            signal.signal(number, _heard_elsewhere)
        threading.Thread(
            target=self._listen,
            args=(reader, listened, grace_seconds, exit_code, costs),
            name="signals",
            daemon=True,
        ).start()
        return self

    def _listen(
        self,
        reader: int,
        listened: set[signal.Signals],
        grace_seconds: float | None,
        code: int,
        costs: str,
    ) -> None:
        while (number := os.read(reader, 1)[0]) not in listened:
            pass
        self._signal = signal.Signals(number)
        self._signalled = True
        if not self._launcher:
            again = "Ctrl-C" if number == signal.SIGINT else "a signal"
            print(
                f"study: stopping: {costs}; {again} again ends at once",
                file=sys.stderr,
                flush=True,
            )
        # A signal to the whole process group is followed by that of the launcher, who had it too.
        forgiven = 1 if self._launcher else 0
        until = float("inf") if grace_seconds is None else time.monotonic() + grace_seconds
        while (seconds := until - time.monotonic()) > 0:
            wait_seconds = None if seconds == float("inf") else seconds
            if not select.select([reader], [], [], wait_seconds)[0]:
                break
            number = os.read(reader, 1)[0]
            if number in listened and number not in REPEATED:
                if not forgiven:
                    os._exit(128 + number)
                forgiven -= 1
        _end("stopped without an answer: another worker reclaims the trial", code)

    @property
    def is_signalled(self) -> bool:
        """Whether a signal came."""
        return self._signalled

    @property
    def is_set(self) -> bool:
        """Whether to stop: a signal came, the time is over, or the launcher is gone."""
        return (
            self._signalled
            or time.monotonic() >= self._until
            or (self._launcher != 0 and os.getppid() != self._launcher)
        )

    @property
    def reason(self) -> str:
        """Why it is set, in words; where it is not, why no other epoch begins."""
        if self._signal is not None:
            return f"{self._signal.name} ({MEANINGS[self._signal]})"
        if self._launcher != 0 and os.getppid() != self._launcher:
            return MEANINGS[LAUNCHER_DIED]
        if time.monotonic() >= self._until:
            return "the time of --stop-after is over"
        return "another epoch would not end within --stop-after"

    @property
    def seconds_left(self) -> float:
        """Time until the flag sets itself, in seconds; infinite where it never does."""
        return max(1.0, self._until - time.monotonic())

    def leaves_time_for(self, longest_epoch_seconds: Callable[[], float | None]) -> bool:
        """Whether an epoch as long as the longest one so far would reach its checkpoint."""
        if self.is_set:
            return False
        if self._until == float("inf"):
            return True
        seconds = self._until - time.monotonic()
        return seconds > EPOCH_MARGIN * (longest_epoch_seconds() or 0.0)

    def interrupting(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass batches through.

        Raises:
            StopRequested: As soon as the flag is set.
        """
        for batch in batches:
            if self.is_set:
                raise StopRequested
            yield batch


def _heard_elsewhere(_number: int, _frame: object) -> None:
    """Replace the default action; the thread has the signal's number from the wakeup pipe."""


def _end(message: str, code: int) -> NoReturn:
    print(f"study: {message}", file=sys.stderr, flush=True)
    os._exit(code)


def parse_duration(text: str | None) -> float | None:
    """Return the seconds of a duration such as `3h50m`, `45m` or `90s`; None for none given.

    Raises:
        StudyError: If it is no duration, or no time at all.
    """
    if text is None:
        return None
    parts = DURATION.fullmatch(text.strip())
    seconds = sum(
        int(number) * UNITS[unit]
        for unit, number in (parts.groupdict("0") if parts else {}).items()
    )
    if seconds == 0:
        raise StudyError(
            f"--stop-after must be a duration such as 3h50m, 45m or 90s, got {text!r}: correct it"
        )
    return float(seconds)
