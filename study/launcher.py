"""Many workers on this machine: one process each, one log file each, one stop for all."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.live import Live

from dashboards.status import StudyStatus, read_status, status_line, status_table
from study.errors import StudyError
from study.progress import is_terminal, say
from study.session import StudySession
from study.stopping import LAUNCHER_PID, StopFlag

REFRESH_SECONDS = 2.0


def worker_command(session: StudySession) -> list[str]:
    """Return the command line of a worker that joins a study."""
    config = session.config
    patience = config.storage.model_dump(mode="json", exclude={"url", "runs"})
    return [
        *(sys.executable, "-m", "study", "worker"),
        *("--name", session.protocol.study_name),
        *("--device", config.execution.device),
        *("--set", f"data.cache={json.dumps(str(config.data.cache))}"),
        *("--set", f"protocol.strict={json.dumps(config.protocol.strict)}"),
        *(part for key, value in patience.items() for part in ("--set", f"storage.{key}={value}")),
    ]


def run_workers(session: StudySession, *, stop: StopFlag) -> None:
    """Start the configured workers, show progress, and wait for them.

    Workers ignore Ctrl-C, which a terminal sends to all of them, and are told to stop once, by
    SIGTERM; when this process is gone, they stop by themselves.

    Args:
        session: The study.
        stop: Set when this process is asked to stop.

    Raises:
        StudyError: If a worker failed; the message holds the last line of its log.
    """
    session.paths.logs.mkdir(parents=True, exist_ok=True)
    here = f"{socket.gethostname()}-{os.getpid()}"
    logs = [
        session.paths.logs / f"worker-{here}-{index}.log"
        for index in range(session.config.workers.n_workers)
    ]
    workers = [_start(worker_command(session), log, session) for log in logs]
    try:
        _watch(session, workers, stop)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
    for worker, log in zip(workers, logs, strict=True):
        # One that was told to stop before it could listen has lost nothing.
        if worker.wait() != 0 and not (stop.is_set and worker.returncode == -signal.SIGTERM):
            last = (log.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]
            raise StudyError(f"a worker failed: {last.removeprefix('study: ')} (log: {log})")


def _start(command: Sequence[str], log: Path, session: StudySession) -> subprocess.Popen[bytes]:
    threads = str(session.config.workers.threads)
    # The database address may hold a password, which everyone could read in a command line.
    environment = os.environ | {
        LAUNCHER_PID: str(os.getpid()),
        "OMP_NUM_THREADS": threads,
        "STUDY_STORAGE": session.config.storage.url,
        "STUDY_RUNS": str(session.config.storage.runs),
        "STUDY_DATA": session.config.data.source,
    }
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=_ignore_interrupts,
        )


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _watch(session: StudySession, workers: list[subprocess.Popen[bytes]], stop: StopFlag) -> None:
    """Show the study's state until the workers have left or a stop is asked for."""
    if is_terminal():
        with Live(status_table(_status(session)), auto_refresh=False) as live:
            while _working(workers) and not stop.is_set:
                live.update(status_table(_status(session)), refresh=True)
                _sleep(stop)
            live.update(status_table(_status(session)), refresh=True)
        return
    said = ""
    working = True
    while working and not stop.is_set:
        working = _working(workers)  # looked at first, so that the last line shows the end
        line = status_line(_status(session))
        if line != said:
            said = line
            say(line)
        if working:
            _sleep(stop)


def _status(session: StudySession) -> StudyStatus:
    return read_status(session.storage_handle, session.protocol.study_name)


def _working(workers: list[subprocess.Popen[bytes]]) -> bool:
    return any(worker.poll() is None for worker in workers)


def _sleep(stop: StopFlag) -> None:
    until = time.monotonic() + REFRESH_SECONDS
    while time.monotonic() < until and not stop.is_set:
        time.sleep(0.1)
