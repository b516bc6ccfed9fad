"""Real processes of the command line, at a fraction of the price of a fresh interpreter.

    with ProcessServer() as processes:
        worker = processes.start("worker", "--config", "study.yaml", folder=folder)
        worker.wait_for_epoch(2)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0

Each has its own pid, folder, environment, output and error files and exit code, and may be killed
or stopped like any other. None outlives the test process.
"""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EPOCH_LINE = re.compile(r" trial (\d+) attempt \d+ epoch (\d+)/\d+: validation ")


def wait_until(
    condition: Callable[[], object], what: str, *, seconds: float = 60, every: float = 0.02
) -> None:
    """Poll a condition; fail the test where it does not come true."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s in vain for {what}"
        time.sleep(every)


@dataclass(frozen=True)
class StartedProcess:
    """A process that was started.

    Attributes:
        name: Of its files; unique.
        pid: Of the process.
        output: What it says.
        errors: What it says on the standard error.
    """

    server: "ProcessServer"
    name: str
    pid: int
    output: Path
    errors: Path

    def poll(self) -> int | None:
        """Return the exit code, the negative number of a signal that ended it, or None."""
        return self.server.poll(self.pid)

    def wait(self, seconds: float = 60) -> int:
        """Return the exit code; fail the test where the process goes on for longer."""
        until = time.monotonic() + seconds
        while (exit_code := self.poll()) is None:
            goes_on = f"{self.name} goes on after {seconds} s, it said:\n{self.said()}"
            assert time.monotonic() < until, goes_on
            time.sleep(0.02)
        return exit_code

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that has not ended."""
        assert self.poll() is None, f"{self.name} has ended with {self.poll()}:\n{self.said()}"
        os.kill(self.pid, number)

    def send_signal_if_alive(self, number: int) -> bool:
        """Send a signal, and return whether the process had not ended before."""
        if self.poll() is not None:
            return False
        os.kill(self.pid, number)
        return True

    def kill(self) -> None:
        """Kill the process, if it has not ended, and wait for its end."""
        self.send_signal_if_alive(signal.SIGKILL)
        self.wait()

    def said(self) -> str:
        """Return everything that it has said so far, output first."""
        return self.output.read_text() + self.errors.read_text()

    def epochs(self) -> list[tuple[int, int]]:
        """Return trial and epoch of each epoch that it has announced."""
        found = EPOCH_LINE.findall(self.output.read_text())
        return [(int(trial), int(epoch)) for trial, epoch in found]

    def wait_for_epoch(self, least: int, *, seconds: float = 60) -> tuple[int, int]:
        """Wait until it has announced this epoch, or a later one, of any trial; return the last.

        The line comes before the checkpoint.
        """

        def reached() -> bool:
            assert self.poll() is None, f"{self.name} ended with {self.poll()}:\n{self.said()}"
            return any(epoch >= least for _, epoch in self.epochs())

        wait_until(reached, f"epoch {least} of {self.name}", seconds=seconds)
        return self.epochs()[-1]


class ProcessServer:
    """Starts processes by forking them from one that has imported everything."""

    def __init__(self) -> None:
        # No library may start a thread: neither OpenMP, OpenBLAS nor Arrow's allocator.
        calm = {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.tools.process_server"],
            cwd=ROOT,
            env=os.environ | calm,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._exit_codes: dict[int, int] = {}
        self._ready = False

    def __enter__(self) -> "ProcessServer":
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.communicate()  # closes its input, whereupon it kills what still runs

    @property
    def pid(self) -> int:
        """Of the server itself."""
        return self._server.pid

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._server.stdin is not None and self._server.stdout is not None
        with self._lock:
            if not self._ready:
                self._ready = json.loads(self._server.stdout.readline())["ready"]
            self._server.stdin.write(json.dumps(request) + "\n")
            self._server.stdin.flush()
            answer: dict[str, Any] = json.loads(self._server.stdout.readline())
            return answer

    def start(
        self,
        *arguments: str,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        prelude: str | None = None,
    ) -> StartedProcess:
        """Start `study` with arguments.

        Args:
            arguments: Of the command line.
            folder: Where it runs and where its output goes.
            environment: Added to that of this process, which loses its STUDY_ variables.
            prelude: `module:function`, called in the process before anything else.
        """
        name = f"{arguments[0]}-{next(self._numbers)}"
        output, errors = folder / f"{name}.out", folder / f"{name}.err"
        output.touch()
        errors.touch()
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("STUDY_")}
        inherited["PYTHONPATH"] = str(ROOT)  # what it starts runs this code too
        answer = self._ask(
            {
                "arguments": arguments,
                "folder": str(folder),
                "environment": inherited | dict(environment or {}),
                "prelude": prelude,
                "output": str(output),
                "errors": str(errors),
            }
        )
        return StartedProcess(self, name, answer["pid"], output, errors)

    def run(self, *arguments: str, folder: Path, seconds: float = 120) -> StartedProcess:
        """Start `study` with arguments and wait for its end, which must be exit code 0."""
        started = self.start(*arguments, folder=folder)
        exit_code = started.wait(seconds)
        assert exit_code == 0, f"{started.name} ended with {exit_code}:\n{started.said()}"
        return started

    def poll(self, pid: int) -> int | None:
        """Return the exit code of a process, None while it runs."""
        if pid not in self._exit_codes:
            exit_code = self._ask({"poll": pid})["exit_code"]
            if exit_code is None:
                return None
            self._exit_codes[pid] = exit_code
        return self._exit_codes[pid]
