"""Many workers on this machine: one process each, one log file each, one stop for all."""

import json
import math
import os
import secrets
import socket
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from rich.live import Live

from dashboards.analysis.status import StudyStatus, read_status
from dashboards.terminal.status import status_line, status_table
from storage.addresses import parse_url
from storage.group_rights import make_folders
from study.progress import is_terminal, say
from study.session.session import StudySession
from study.stop_signal import StopFlag
from study.workers.gpus import VARIABLE
from study.workers.local_workers import LocalWorker, LocalWorkers

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
        # -P: a file of the folder where it starts must not stand for a library of the same name.
        *(sys.executable, "-P", "-m", "study", "worker"),
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

    Workers ignore Ctrl-C, which a terminal sends to all of them, and get one signal to stop,
    SIGTERM; when this process is gone, the kernel sends it. One that a signal kills in a trial
    is replaced.

    Args:
        session: The study.
        environments: What the environment of each worker adds to that of this process.
        stop: Set when this process gets a stop signal.
        check_first: Whether each worker leaves before its first trial if a sanity check fails.

    Raises:
        WorkerFailedError: If a worker failed; the message holds the signal or its last line.
    """
    hint = postgresql_hint(session, len(environments))
    if hint:
        say(hint)
    make_folders(session.paths.logs)

    def start(index: int, own: dict[str, str]) -> LocalWorker:
        name = f"worker-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}-{index}.log"
        command = worker_command(
            session,
            device=_device(session, own),
            seconds_left=stop.seconds_left,
            check_first=check_first,
        )
        return LocalWorker(session, command, own, session.paths.logs / name)

    workers = LocalWorkers([partial(start, index, own) for index, own in enumerate(environments)])
    try:
        _watch(session, workers, stop)
    finally:
        workers.stop()
    workers.reject_failures(stopped=stop.is_set)


def _device(session: StudySession, own: dict[str, str]) -> str:
    """Return a worker's device; one that is given a GPU must not fall back to the CPU."""
    return "cuda" if VARIABLE in own else session.config.execution.device


def _watch(session: StudySession, workers: LocalWorkers, stop: StopFlag) -> None:
    """Show the study's state until the workers have left or a stop signal comes."""
    read = partial(read_status, session.storage_handle, session.protocol.study_name)
    begun: set[int] = set()
    if is_terminal():
        with Live(auto_refresh=False) as live:
            while not stop.is_set and workers.are_working():
                status = read()
                n_starting = _count_starting(workers, status, begun)
                live.update(status_table(status, n_starting=n_starting), refresh=True)
                _sleep(stop)
            live.update(status_table(read(), n_starting=0), refresh=True)
        return
    said = ""
    working = True
    while working and not stop.is_set:
        working = workers.are_working()  # looked at first, so that the last line shows the end
        status = read()
        line = status_line(status, n_starting=_count_starting(workers, status, begun))
        if line != said:
            said = line
            say(line)
        if working:
            _sleep(stop)


def _count_starting(workers: LocalWorkers, status: StudyStatus, begun: set[int]) -> int:
    """Return how many workers have not claimed a trial yet, while there is one for them.

    Args:
        workers: Those of this launcher.
        status: The study's, read just now.
        begun: Processes that have had a trial; those that have one now are added.
    """
    begun |= {trial.pid for trial in status.running_trials if trial.pid is not None}
    return len(set(workers.pids) - begun) if status.has_claimable else 0


def _sleep(stop: StopFlag) -> None:
    until = time.monotonic() + REFRESH_SECONDS
    while time.monotonic() < until and not stop.is_set:
        time.sleep(0.1)
