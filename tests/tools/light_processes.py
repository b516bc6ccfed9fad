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

P_DEATH = 0.01
P_DEATH_WITHIN = {"lock_and_read": 0.02, "release_within": 0.05, "_finish": 0.0005}
"""How likely a death is after each change of a decision, within a transaction that it undoes.

Hundreds of trials are finished in one transaction, so that each of them has to be survived.
"""


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
    for name, probability in P_DEATH_WITHIN.items():
        harmless: Callable[..., Any] = getattr(storage.trial_queue, name)
        setattr(storage.trial_queue, name, _deadly(harmless, draws, probability))
    handle = open_study_storage(url, outage_seconds=60)
    place = StorageConfig(url=url)
    queue = light_queue(handle, budget, rungs)
    claimant = Claimant(handle, SampledStudy(NAME, handle), place, queue)
    for _moment in LightWorker(handle, queue, folder, claimant.claim).work():
        _die(draws, P_DEATH)


def _deadly(
    function: Callable[..., Any], draws: random.Random, probability: float
) -> Callable[..., Any]:
    """Return a function after which the process may die before its transaction is committed."""

    def call(*given: Any) -> Any:
        result = function(*given)
        _die(draws, probability)
        return result

    return call


def _die(draws: random.Random, probability: float) -> None:
    if draws.random() < probability:
        os.kill(os.getpid(), signal.SIGKILL)
