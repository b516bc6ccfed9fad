"""Notices that others take the cores that this process trains on.

Several threads of one operation wait for the last of them, by default spinning, so that a single
taken core may slow training many times. Linux counts how long each thread ran, and how long it was
ready to run and waited for a core; where it does not (no `schedstat`), nothing is noticed.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TASKS = Path("/proc/self/task")
LEAST_SECONDS = 10.0
"""Running and waiting, all threads together, before anything is said: a moment says nothing."""
MOST_WAITING = 0.2
"""One busy neighbour on one of two cores makes it 0.25, an idle machine less than 0.05."""
OWN_SHARE = 0.8
"""A process that has this much of all cores is in its own way, and nobody else's."""
NANOSECONDS = 1e9


@dataclass(frozen=True)
class Usage:
    """What the threads of a process did in some time.

    Attributes:
        run_seconds: How long they ran, together.
        wait_seconds: How long they were ready to run and had no core, together.
        wall_seconds: How much time that was.
        n_cores: Cores that the process may use.
    """

    run_seconds: float
    wait_seconds: float
    wall_seconds: float
    n_cores: int

    @property
    def waiting(self) -> float:
        """Share of the time without a core, of all time that a core was wanted."""
        return self.wait_seconds / max(self.run_seconds + self.wait_seconds, 1e-9)

    @property
    def is_long(self) -> bool:
        """Whether it is enough to judge by."""
        return self.run_seconds + self.wait_seconds >= LEAST_SECONDS

    @property
    def cores_are_taken(self) -> bool:
        """Whether others have cores that this process could use."""
        has_most = self.run_seconds >= OWN_SHARE * self.n_cores * self.wall_seconds
        # A process that feeds a GPU hardly wants a core, so it loses nothing by waiting for it.
        loses = self.wait_seconds >= MOST_WAITING * self.wall_seconds
        return self.is_long and self.waiting >= MOST_WAITING and loses and not has_most


class CoreWatch:
    """Judges this process from one look to the next, and says once that cores are taken.

    Args:
        n_threads: Threads of one operation.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._begin()
        self._has_said = False

    def _begin(self) -> None:
        self._at, self._times = time.monotonic(), read_thread_times()

    def look(self) -> str | None:
        """Return what to say, None where there is nothing, or it was said before."""
        usage = self._usage()
        if self._has_said or not usage.is_long:
            return None
        self._begin()
        if not usage.cores_are_taken:
            return None
        self._has_said = True
        return describe(usage, self._n_threads)

    def _usage(self) -> Usage:
        run, wait = difference(self._times, read_thread_times())
        wall_seconds = time.monotonic() - self._at
        return Usage(run, wait, wall_seconds, len(os.sched_getaffinity(0)))


def describe(usage: Usage, n_threads: int) -> str:
    """Say that cores are taken, and what helps."""
    threads = f"{n_threads} thread{'s' * (n_threads != 1)}"
    cores = f"{usage.n_cores} core{'s' * (usage.n_cores != 1)}"
    is_passive = os.environ.get("OMP_WAIT_POLICY", "").casefold() == "passive"
    passive = "" if is_passive else "export OMP_WAIT_POLICY=passive, or "
    several = f"; where the load stays, {passive}begin a study with --set workers.threads=1"
    return (
        f"other programs take the cores: {usage.waiting:.0%} of the time that this process wanted "
        f"a core it waited for one ({threads}, {cores}), so training is slow: end "
        f"them, or run fewer workers{several if n_threads > 1 else ''}"
    )


def read_thread_times() -> dict[str, tuple[int, int]]:
    """Return how long each thread of this process ran and waited, in ns; empty if not known."""
    times = {}
    for task in TASKS.glob("*/schedstat"):
        try:
            run, wait, _ = map(int, task.read_text().split())
        except (OSError, ValueError):  # the thread has ended, or the kernel does not count
            continue
        times[task.parent.name] = (run, wait)
    return times


def difference(
    before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]
) -> tuple[float, float]:
    """Return the seconds that the threads ran and waited; what a thread did that ended is lost."""
    run = wait = 0
    for name, (ran, waited) in after.items():
        ran_before, waited_before = before.get(name, (0, 0))
        # A new thread may have the number of one that has ended.
        is_same = ran >= ran_before and waited >= waited_before
        run += ran - ran_before if is_same else ran
        wait += waited - waited_before if is_same else waited
    return run / NANOSECONDS, wait / NANOSECONDS
