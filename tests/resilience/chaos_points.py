"""A prelude of `ProcessServer.start` that kills the process at named moments.

The folder named by CHAOS_TOKENS holds files `POINT.N`; whoever passes the point and wins the
dice removes one of its files and dies on the spot, by SIGKILL.
"""

import functools
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model.training
import storage.leases
import study.claiming
from storage.study_storage import StudyStorage
from study.epoch_sinks import ReportAndPrune
from study.worker import Outcome, Worker

TOKENS = "CHAOS_TOKENS"
CHANCES = {
    "half-way through init": 1 / 4,
    "after the claim": 1 / 5,
    "before the first beat": 1 / 5,
    "inside an epoch": 1 / 150,
    "inside the checkpoint write": 1 / 12,
    "between checkpoint and report": 1 / 12,
    "before tell": 1 / 4,
    "inside a takeover": 1,
    "inside the release after a signal": 1,
}
"""Points, with the probability to die there at each passage: missed once in 1,000 runs."""


def give_tokens(folder: Path, n_each: int) -> None:
    """Let each point strike so often."""
    for point in CHANCES:
        for number in range(n_each):
            (folder / f"{point}.{number}").touch()


def tokens_left(folder: Path) -> dict[str, int]:
    """Return how often each point has still to strike."""
    left = [path.stem for path in folder.iterdir()]
    return {point: left.count(point) for point in CHANCES}


def install() -> None:
    """Set the traps."""
    storage_class: Any = StudyStorage
    _before(storage_class, "_create_new_trial", "half-way through init")
    _before(storage.leases.Heartbeat, "_run", "before the first beat")
    _before(model.training, "_step", "inside an epoch")
    _before(ReportAndPrune, "__call__", "between checkpoint and report")
    _before(storage.leases, "_insert", "inside a takeover", lambda *given: given[2].taken_over)
    _before(storage.leases, "set_waiting", "inside the release after a signal")
    _before(Worker, "_tell", "before tell", _is_an_end)
    _before(os, "fsync", "inside the checkpoint write", _is_checkpoint)

    acquire_waiting = study.claiming.acquire_waiting

    def claim(*given: Any, **options: Any) -> Any:
        lease = acquire_waiting(*given, **options)
        if lease is not None:
            _perhaps_die("after the claim")
        return lease

    study.claiming.acquire_waiting = claim


def _before(
    owner: Any, name: str, point: str, applies: Callable[..., bool] = lambda *_: True
) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def trapped(*given: Any, **options: Any) -> Any:
        if applies(*given):
            _perhaps_die(point)
        return original(*given, **options)

    setattr(owner, name, trapped)


def _is_an_end(_worker: Worker, _lease: object, outcome: Outcome) -> bool:
    return outcome.state.is_finished()


def _is_checkpoint(descriptor: int) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").readlink().name.startswith(".epoch-")


def _perhaps_die(point: str) -> None:
    if random.SystemRandom().random() >= CHANCES[point]:
        return
    for token in Path(os.environ[TOKENS]).glob(f"{point}.*"):
        try:
            token.unlink()
        except FileNotFoundError:  # another process was faster
            continue
        os.kill(os.getpid(), signal.SIGKILL)
