"""A prelude of `ProcessServer.start` that kills the process at named moments.

The folder named by CHAOS_COUNTDOWNS holds files `POINT.N`; whoever passes the point removes the
last of them, and who removes `POINT.0` dies on the spot, by SIGKILL.
"""

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import model.training
import storage.leases
import study.workers.claims
from storage.study_storage import StudyStorage
from study.trial.epoch_sinks import ReportAndPrune
from study.workers.outcome import Outcome
from study.workers.worker import Worker

COUNTDOWNS = "CHAOS_COUNTDOWNS"
RELEASE = "inside the release after a signal"
LATEST_PASSAGES = {
    "half-way through init": 20,
    "after the claim": 20,
    "before the first heartbeat": 20,
    "inside an epoch": 300,
    "inside the checkpoint write": 40,
    "between checkpoint and report": 40,
    "before finish": 20,
    "inside a reclaim": 1,
    RELEASE: 1,
}
"""Points, with the passage that kills at the latest; a study of 30 trials has more of each."""


def set_countdowns(folder: Path, random: Random) -> None:
    """Let each point strike once, at a random passage."""
    for point, latest in LATEST_PASSAGES.items():
        for number in range(random.randint(1, latest)):
            (folder / f"{point}.{number:03}").touch()


def struck(folder: Path) -> dict[str, bool]:
    """Return whether each point has struck."""
    left = {path.stem for path in folder.iterdir()}
    return {point: point not in left for point in LATEST_PASSAGES}


def install() -> None:
    """Set the traps."""
    storage_class: Any = StudyStorage
    _before(storage_class, "_create_new_trial", "half-way through init")
    _before(storage.leases.Heartbeat, "_run", "before the first heartbeat")
    _before(model.training, "_step", "inside an epoch")
    _before(ReportAndPrune, "__call__", "between checkpoint and report")
    _before(storage.leases, "_insert", "inside a reclaim", lambda *given: given[2].reclaimed)
    _before(storage.leases, "set_waiting", RELEASE)
    _before(Worker, "_finish", "before finish", _is_an_end)
    _before(os, "fsync", "inside the checkpoint write", _is_checkpoint)

    acquire_waiting = study.workers.claims.acquire_waiting

    def claim(*given: Any, **options: Any) -> Any:
        lease = acquire_waiting(*given, **options)
        if lease is not None:
            _count_down("after the claim")
        return lease

    study.workers.claims.acquire_waiting = claim


def _before(
    owner: Any, name: str, point: str, applies: Callable[..., bool] = lambda *_: True
) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def trapped(*given: Any, **options: Any) -> Any:
        if applies(*given):
            _count_down(point)
        return original(*given, **options)

    setattr(owner, name, trapped)


def _is_an_end(_worker: Worker, _lease: object, outcome: Outcome) -> bool:
    return outcome.state.is_finished()


def _is_checkpoint(descriptor: int) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").readlink().name.startswith(".epoch-")


def _count_down(point: str) -> None:
    for file in sorted(Path(os.environ[COUNTDOWNS]).glob(f"{point}.*"), reverse=True):
        try:
            file.unlink()
        except FileNotFoundError:  # another process was faster
            continue
        if file.suffix == ".000":
            os.kill(os.getpid(), signal.SIGKILL)
        return
