import os
import subprocess
import sys

import pytest

from study.workers import core_watch
from study.workers.core_watch import Usage, describe, difference
from tests.tools.processes import ROOT

SECOND = 10**9


@pytest.mark.parametrize(
    ("run", "wait", "wall", "n_cores", "taken"),
    [
        (20, 0.1, 10, 2, False),  # alone on the machine
        (15, 5, 10, 2, True),  # a busy process on one of two cores, one thread waits half
        (8, 12, 10, 2, True),
        (10, 0.2, 10, 64, False),  # one thread, which has its core
        (18, 9, 10, 2, False),  # more threads of its own than cores: nobody else is to blame
        (2, 6, 10, 2, False),  # too short to judge by
        (0, 0, 600, 2, False),  # the kernel does not count, or a GPU works
        (3, 9, 600, 2, False),  # a GPU works, and the cores hardly matter
    ],
)
def test_cores_are_taken_where_threads_wait_for_others(
    run: float, wait: float, wall: float, n_cores: int, taken: bool
) -> None:
    assert Usage(run, wait, wall, n_cores).cores_are_taken is taken


def test_times_of_threads_are_added_up_though_threads_come_and_go() -> None:
    before = {"1": (5 * SECOND, 1 * SECOND), "2": (9 * SECOND, 9 * SECOND), "3": (SECOND, 0)}
    after = {"1": (7 * SECOND, 2 * SECOND), "2": (SECOND, 0), "4": (SECOND, SECOND)}
    assert difference(before, after) == (4.0, 2.0)
    assert difference({}, {}) == (0.0, 0.0)


def test_line_says_how_long_and_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    line = describe(Usage(15, 5, 10, 2), 2)
    assert "25% of the time" in line and "(2 threads, 2 cores)" in line
    for remedy in ("fewer workers", "OMP_WAIT_POLICY=passive", "--set workers.threads=1"):
        assert remedy in line
    assert "OMP_WAIT_POLICY" not in describe(Usage(15, 5, 10, 2), 1)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # done already
    line = describe(Usage(15, 5, 10, 2), 2)
    assert "OMP_WAIT_POLICY" not in line and "--set workers.threads=1" in line


LOADED = """
import os, subprocess, sys
from study.workers import core_watch

core_watch.LEAST_SECONDS = 0.2
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
try:
    watch = core_watch.CoreWatch(2)
    while (said := watch.look()) is None:
        sum(range(10_000))
    print(said)
    for _ in range(2_000):
        sum(range(1_000))
    assert watch.look() is None  # once
finally:
    for other in others:
        other.kill()
        other.wait()
"""


@pytest.mark.skipif(not core_watch.read_thread_times(), reason="the kernel has no schedstat")
def test_busy_neighbours_are_noticed_once() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("other programs take the cores: ")
    assert "(2 threads, 1 core)" in ended.stdout
