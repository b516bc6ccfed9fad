"""Looks, from within a worker, at what an attempt at a trial has left behind when the next begins.

A prelude of `ProcessServer.start`. Some attempts are made to fail, each kind in its own way.
"""

import atexit
import gc
import json
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import study.trial.trial_training
from model.training_state import TrainingState

FIGURES = "isolation.json"
WAYS_TO_FAIL = {3: "exception", 8: "out of memory", 13: "diverged", 16: "exception"}


def install() -> None:
    """Watch every training state that is built in this process."""
    probe = _Probe(study.trial.trial_training.fresh_state)
    study.trial.trial_training.fresh_state = probe.build  # type: ignore[assignment]
    atexit.register(probe.write)


class _Probe:
    def __init__(self, original: Callable[..., TrainingState]) -> None:
        self._original = original
        self._network: weakref.ref[nn.Module] | None = None
        self._baseline: int | None = None
        self._figures: list[dict[str, Any]] = []

    def build(self, *args: Any, **kwargs: Any) -> TrainingState:
        self._look_back()
        state = self._original(*args, **kwargs)
        self._network = weakref.ref(state.network)
        _sabotage(state, WAYS_TO_FAIL.get(len(self._figures) + 1))
        return state

    def _look_back(self) -> None:
        """Note what the attempt before has left; nothing is collected to make it look better.

        The batches of the next attempt are there already, as they were before the first.
        """
        if self._network is None or self._baseline is None:
            self._baseline = _n_tensors()
            return
        network = self._network()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self._figures.append(
            {
                "network_is_dead": network is None,
                "held_by": [] if network is None else _holders(network),
                "n_more_tensors": _n_tensors() - self._baseline,
                "resident_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
            }
        )

    def write(self) -> None:
        self._look_back()
        Path(FIGURES).write_text(json.dumps(self._figures))


def _n_tensors() -> int:
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def _holders(network: nn.Module) -> list[str]:
    return [str(type(holder)) for holder in gc.get_referrers(network)]


def _sabotage(state: TrainingState, way: str | None) -> None:
    """Let an attempt fail at its tenth step."""
    n_steps = 0

    def fail(_network: nn.Module, _inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal n_steps
        n_steps += 1
        if n_steps < 10:
            return
        if way == "out of memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        raise RuntimeError("sabotaged")

    if way == "diverged":
        with torch.no_grad():
            next(state.network.parameters()).fill_(float("nan"))
    elif way is not None:
        state.network.register_forward_pre_hook(fail)
