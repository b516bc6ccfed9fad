"""Processes that work on light trials and kill themselves at random moments, by SIGKILL."""

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import storage.trial_queue
from storage.budget import Budget
from storage.configuration import StorageConfig
from storage.own_study import SampledStudy
from storage.queue_snapshot import Rungs
from storage.study_storage import open_study_storage
from study.workers.claims import Claimant
from tests.tools.light_trials import NAME, LightWorker, light_queue

P_DEATH_BETWEEN, P_DEATH_WITHIN = 0.01, 0.05
WITHIN = ("release_within", "_forget_pause", "_finish")
"""What a decision changes, each within a transaction that a death undoes."""


def start_light_worker(
    url: str, folder: Path, budget: Budget, rungs: Rungs, seed: str
) -> BaseProcess:
    """Start a worker process, quickly: its modules are imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_work, args=(url, folder, budget, rungs, seed))
    process.start()
    return process


def _work(url: str, folder: Path, budget: Budget, rungs: Rungs, seed: str) -> None:
    draws = random.Random(seed)
    for name in WITHIN:
        before: Callable[..., Any] = getattr(storage.trial_queue, name)
        setattr(storage.trial_queue, name, _deadly(before, draws))
    handle = open_study_storage(url, outage_seconds=60)
    place = StorageConfig(url=url)
    queue = light_queue(handle, budget, rungs)
    claimant = Claimant(handle, SampledStudy(NAME, handle), place, queue)
    for _moment in LightWorker(handle, queue, folder, claimant.claim).work():
        _die(draws, P_DEATH_BETWEEN)


def _deadly(function: Callable[..., Any], draws: random.Random) -> Callable[..., Any]:
    """Return a function after which the process may die before its transaction is committed."""

    def call(*given: Any) -> Any:
        result = function(*given)
        _die(draws, P_DEATH_WITHIN)
        return result

    return call


def _die(draws: random.Random, probability: float) -> None:
    if draws.random() < probability:
        os.kill(os.getpid(), signal.SIGKILL)
