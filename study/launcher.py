"""Many workers on this machine: one process each, one log file each, one stop for all."""

import json
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.live import Live

from dashboards.status import read_status, status_line
from dashboards.status_view import status_table
from storage.database import parse_url
from study.errors import WorkerFailedError
from study.gpus import VARIABLE
from study.progress import is_terminal, say
from study.session import StudySession
from study.stopping import LAUNCHER_PID, SIGNALS, StopFlag

REFRESH_SECONDS = 2.0
MOST_WORKERS_ON_SQLITE = 8


def worker_command(
    session: StudySession,
    *,
    device: str,
    seconds_left: float = math.inf,
    check_first: bool = False,
) -> list[str]:
    """Return the command line of a worker that joins a study; holds no database address."""
    config = session.config
    patience = config.storage.model_dump(mode="json", exclude={"url", "runs"})
    settings: dict[str, Any] = {
        "data.cache": str(config.data.cache),
        "protocol.strict": config.protocol.strict,
    }
    settings |= {f"storage.{key}": value for key, value in patience.items()}
    return [
        *(sys.executable, "-m", "study", "worker"),
        *("--name", session.protocol.study_name),
        *("--device", device),
        *(("--stop-after", f"{seconds_left:.0f}s") if seconds_left < math.inf else ()),
        *(("--check-first",) if check_first else ()),
        *(part for k, v in settings.items() for part in ("--set", f"{k}={json.dumps(v)}")),
    ]


def postgresql_hint(session: StudySession, n_workers: int) -> str | None:
    """Return a line for those who run more workers than SQLite serves well."""
    is_sqlite = parse_url(session.config.storage.url).drivername == "sqlite"
    if not is_sqlite or n_workers <= MOST_WORKERS_ON_SQLITE:
        return None
    return (
        f"hint: {n_workers} workers wait for each other on SQLite; for more than "
        f"{MOST_WORKERS_ON_SQLITE} use --storage postgresql+psycopg://USER@HOST/NAME"
    )


def run_workers(
    session: StudySession,
    environments: Sequence[dict[str, str]],
    *,
    stop: StopFlag,
    check_first: bool = False,
) -> None:
    """Start workers, show progress, and wait for them.

    Workers ignore Ctrl-C, which a terminal sends to all of them, and are told to stop once, by
    SIGTERM; when this process is gone, they stop by themselves.

    Args:
        session: The study.
        environments: What the environment of each worker adds to that of this process.
        stop: Set when this process is asked to stop.
        check_first: Whether each worker leaves before its first trial if a sanity check fails.

    Raises:
        WorkerFailedError: If a worker failed; the message holds the last line of its log.
    """
    hint = postgresql_hint(session, len(environments))
    if hint:
        say(hint)
    session.paths.logs.mkdir(parents=True, exist_ok=True)
    here = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    logs = [
        session.paths.logs / f"worker-{here}-{index}.log" for index in range(len(environments))
    ]
    commands = [
        worker_command(
            session,
            device=_device(session, own),
            seconds_left=stop.seconds_left,
            check_first=check_first,
        )
        for own in environments
    ]
    workers = [
        _start(command, session, own, log)
        for command, own, log in zip(commands, environments, logs, strict=True)
    ]
    try:
        _watch(session, workers, stop)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
    for worker, log in zip(workers, logs, strict=True):
        # One that was told to stop before it could listen has lost nothing.
        if worker.wait() != 0 and not (stop.is_set and -worker.returncode in SIGNALS):
            last = (log.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]
            raise WorkerFailedError(
                f"a worker failed: {last.removeprefix('study: ')} (log: {log})",
                exit_code=worker.returncode,
            )


def _device(session: StudySession, own: dict[str, str]) -> str:
    """Return a worker's device; one that is given a GPU must not fall back to the CPU."""
    return "cuda" if VARIABLE in own else session.config.execution.device


def _start(
    command: Sequence[str], session: StudySession, own: dict[str, str], log: Path
) -> subprocess.Popen[bytes]:
    config = session.config
    # The database address may hold a password, which everyone could read in a command line.
    environment = os.environ | {
        LAUNCHER_PID: str(os.getpid()),
        "OMP_NUM_THREADS": str(config.workers.threads),
        "STUDY_STORAGE": config.storage.url,
        "STUDY_RUNS": str(config.storage.runs),
        "STUDY_DATA": config.data.source,
    }
    with log.open("xb") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment | own,
            preexec_fn=_ignore_interrupts,
        )


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _watch(session: StudySession, workers: list[subprocess.Popen[bytes]], stop: StopFlag) -> None:
    """Show the study's state until the workers have left or a stop is asked for."""
    read = partial(read_status, session.storage_handle, session.protocol.study_name)
    if is_terminal():
        with Live(status_table(read()), auto_refresh=False) as live:
            while _working(workers) and not stop.is_set:
                live.update(status_table(read()), refresh=True)
                _sleep(stop)
            live.update(status_table(read()), refresh=True)
        return
    said = ""
    working = True
    while working and not stop.is_set:
        working = _working(workers)  # looked at first, so that the last line shows the end
        line = status_line(read())
        if line != said:
            said = line
            say(line)
        if working:
            _sleep(stop)


def _working(workers: list[subprocess.Popen[bytes]]) -> bool:
    return any(worker.poll() is None for worker in workers)


def _sleep(stop: StopFlag) -> None:
    until = time.monotonic() + REFRESH_SECONDS
    while time.monotonic() < until and not stop.is_set:
        time.sleep(0.1)
