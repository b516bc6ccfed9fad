"""The worker processes of one launcher: started, replaced where a signal killed them, stopped."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from storage.group_rights import create_file
from storage.leases import record_death
from storage.process_identity import Owner
from study.errors import WorkerFailedError
from study.progress import say
from study.session.session import StudySession
from study.stop_signal import INTERRUPTED, KILLED_AFTER_SECONDS, LAUNCHER_PID, SIGNALS
from study.workers.exit_reasons import describe_signal, lost_by, name_signal

Start = Callable[[], "LocalWorker"]
QUIET_SECONDS = 1.0
"""Time in which most workers stop, so that there is nothing to say."""


class LocalWorker:
    """A worker process of a study, and the log of what it says.

    Args:
        session: The study.
        command: Its command line.
        own: What its environment adds to that of this process.
        log: A new file.
    """

    def __init__(
        self, session: StudySession, command: Sequence[str], own: Mapping[str, str], log: Path
    ) -> None:
        self._handle = session.storage_handle
        self._log = log
        self._process = _start(session, command, own, log)
        self._owner = Owner.of(self._process.pid)
        self._was_stopped = self._is_recorded = False
        self._trials: list[int] = []

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def signal(self) -> int:
        """The signal that killed it; 0 where none did."""
        return max(0, -(self._process.poll() or 0))

    def record_death(self) -> bool:
        """Record, once, the signal that killed it; return whether it ran a trial."""
        if not self.signal or self._is_recorded:
            return False
        # A trial is not to blame for a worker that did not stop on a signal.
        ending = "preempted" if self._was_stopped else lost_by(name_signal(self.signal))
        ids = record_death(self._handle.database, self._owner, ending)
        self._trials = [self._handle.get_trial(trial_id).number for trial_id in ids]
        self._is_recorded = True
        return bool(ids)

    def terminate(self) -> None:
        """Tell it to stop."""
        if self.is_running:
            self._process.terminate()

    def wait_or_kill(self, seconds: float) -> None:
        """Wait for its end, and kill it when the time is over."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._was_stopped = True
            self._process.kill()
            self._process.wait()

    def describe_end(self) -> str:
        """Return the signal that killed it, the likely reason and its trial, or its last line."""
        if not self.signal:
            last = (self._log.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]
            message = last.partition("study: ")[2] or last  # after the stamp of its line
            return f"a worker failed: {message} (log: {self._log})"
        where = f"in trial {self._trials[0]}" if self._trials else "outside a trial"
        killer = describe_signal(name_signal(self.signal))
        return f"a worker was killed by {killer} {where} (log: {self._log})"

    def reject_failure(self, *, stopped: bool) -> None:
        """Raise where it failed.

        Args:
            stopped: Whether this process was asked to stop: one that was told to stop before it
                could listen has lost nothing.

        Raises:
            WorkerFailedError: If it did; the message says how it ended.
        """
        code = self._process.returncode
        unheard = stopped and (self.signal in SIGNALS or code == INTERRUPTED)
        if code != 0 and not unheard and not self._was_stopped:
            raise WorkerFailedError(self.describe_end(), exit_code=code)


class LocalWorkers:
    """The workers of a launcher.

    Args:
        starts: Each starts a worker, and another one when a signal has killed the first.
    """

    def __init__(self, starts: Sequence[Start]) -> None:
        self._starts = starts
        self._workers = [start() for start in starts]

    def are_working(self) -> bool:
        """Return whether any worker runs, after replacing those that a signal killed in a trial.

        Outside a trial the next would end like the last. A trial that kills its workers fails
        after `storage.max_retries`, so that replacing them comes to an end.
        """
        for index, worker in enumerate(self._workers):
            if worker.record_death():
                say(f"{worker.describe_end()}: another one is started")
                self._workers[index] = self._starts[index]()
        return any(worker.is_running for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [worker.pid for worker in self._workers if worker.is_running]

    def stop(self) -> None:
        """Tell the workers to stop, and kill those that do not."""
        for worker in self._workers:
            worker.terminate()
        begin = time.monotonic()
        until = begin + KILLED_AFTER_SECONDS
        while self.pids and time.monotonic() < min(until, begin + QUIET_SECONDS):
            time.sleep(0.05)
        if n_left := len(self.pids):
            most = f"{KILLED_AFTER_SECONDS:.0f} s at most"
            say(f"waiting for {count_workers(n_left)} to stop, {most}")
        for worker in self._workers:
            worker.wait_or_kill(max(0.0, until - time.monotonic()))

    def reject_failures(self, *, stopped: bool) -> None:
        """Record how the workers ended.

        Raises:
            WorkerFailedError: If one failed, though it was not told to stop.
        """
        for worker in self._workers:
            worker.record_death()
        for worker in self._workers:
            worker.reject_failure(stopped=stopped)


def count_workers(number: int) -> str:
    """Return a number of workers in words."""
    return f"{number} worker{'' if number == 1 else 's'}"


def _start(
    session: StudySession, command: Sequence[str], own: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    config = session.config
    # The database address may hold a password, which everyone could read in a command line.
    environment = os.environ | {
        LAUNCHER_PID: str(os.getpid()),
        "OMP_NUM_THREADS": str(config.workers.threads),
        "PYTHONFAULTHANDLER": "1",
        "STUDY_STORAGE": config.storage.url,
        "STUDY_RUNS": str(config.storage.runs),
        "STUDY_DATA": config.data.source,
    }
    with create_file(log) as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment | dict(own),
        )
