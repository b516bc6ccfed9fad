"""Which GPU each local worker sees. Imports torch only where GPUs must be counted."""

import ctypes
import os
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Literal

from study.configuration.config import StudyConfig
from study.errors import StudyError

VARIABLE = "CUDA_VISIBLE_DEVICES"


def worker_environments(config: StudyConfig) -> list[dict[str, str]]:
    """Return what the environment of each local worker adds to that of this process.

    Raises:
        StudyError: If `workers.n_workers` is auto and there is no GPU.
    """
    workers, device = config.workers, config.execution.device
    if device.startswith("cuda:"):  # one GPU is named: all share it
        return [{}] * (workers.per_gpu if workers.n_workers == "auto" else workers.n_workers)
    if workers.n_workers == "auto":
        return share_gpus(_required_gpus(device), "auto", workers.per_gpu)
    alone = workers.n_workers == 1  # sees all GPUs and takes the first
    gpus = () if device == "cpu" or alone else visible_gpus(os.environ.get(VARIABLE))
    return share_gpus(gpus, workers.n_workers, workers.per_gpu)


def reject_missing_gpu(config: StudyConfig, count: Callable[[], int] | None = None) -> None:
    """Reject a GPU that this machine does not have, before anything heavy or stored.

    Args:
        config: Names the device.
        count: Says how many GPUs torch finds.

    Raises:
        StudyError: If `execution.device` is such a GPU.
    """
    device = config.execution.device
    if not device.startswith("cuda"):
        return
    count = count or _torch_count
    n_gpus = count() if visible_gpus(os.environ.get(VARIABLE), count) else 0
    if int(device.partition(":")[2] or 0) < n_gpus:
        return
    there = {0: "no GPU is", 1: "1 GPU is"}.get(n_gpus, f"{n_gpus} GPUs are")
    remedy = "use --device auto or cpu" if n_gpus == 0 else f"use cuda:0 to cuda:{n_gpus - 1}"
    remedy = "use cuda:0" if n_gpus == 1 else remedy
    raise StudyError(
        f"execution.device must exist on this machine, got {device!r}, {there} visible "
        f"({_shown_variable()}): {remedy}"
    )


def count_workers(config: StudyConfig) -> int:
    """Return the number of local workers.

    Raises:
        StudyError: If `workers.n_workers` is auto and there is no GPU.
    """
    n_workers = config.workers.n_workers
    return len(worker_environments(config)) if n_workers == "auto" else n_workers


def count_threads(config: StudyConfig) -> int:
    """Return the CPU threads of each local worker: as configured, or the cores shared out.

    Raises:
        StudyError: If `workers.n_workers` is auto and there is no GPU.
    """
    cores = len(os.sched_getaffinity(0))
    return config.workers.threads or max(1, cores // count_workers(config))


def share_gpus(
    gpus: Sequence[str], n_workers: int | Literal["auto"], per_gpu: int
) -> list[dict[str, str]]:
    """Spread workers over GPUs, round-robin.

    Args:
        gpus: Names of the GPUs, in CUDA's order; without any, a worker's environment is empty.
        n_workers: Number of workers, or auto.
        per_gpu: Workers on each GPU where their number is auto.

    Returns:
        One environment per worker.
    """
    n_places = len(gpus) * per_gpu if n_workers == "auto" else n_workers
    if not gpus:
        return [{}] * n_places
    return [{VARIABLE: gpus[index % len(gpus)]} for index in range(n_places)]


def _torch_count() -> int:
    if not _has_driver():
        return 0
    import torch

    return torch.cuda.device_count()


def _has_driver() -> bool:
    """Return whether torch could find a GPU; to ask torch takes 4 s and 500 MB."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()
    return True


def visible_gpus(variable: str | None, count: Callable[[], int] = _torch_count) -> tuple[str, ...]:
    """Return the names of the GPUs that CUDA shows to this process.

    Args:
        variable: Value of CUDA_VISIBLE_DEVICES; None where it is not set. As in CUDA, the list
            ends before the first entry that is empty or negative.
        count: Says how many GPUs there are. It knows best whether there is any, but counts a
            list of MIG devices as one, so the names are the variable's.
    """
    if variable is None:
        return tuple(str(index) for index in range(count()))
    entries = (entry.strip() for entry in variable.split(","))
    named = tuple(takewhile(lambda entry: entry and not entry.startswith("-"), entries))
    return named if named and count() else ()


def _required_gpus(device: str) -> Sequence[str]:
    remedy = "add --workers N"
    if device == "cpu":
        raise StudyError(
            f"workers.n_workers must be a number where execution.device is cpu, got auto: {remedy}"
        )
    gpus = visible_gpus(os.environ.get(VARIABLE))
    if not gpus:
        raise StudyError(
            f"workers.n_workers auto needs a GPU, none is visible ({_shown_variable()}): {remedy}"
        )
    return gpus


def _shown_variable() -> str:
    value = os.environ.get(VARIABLE)
    return f"{VARIABLE} is not set" if value is None else f"{VARIABLE} is {value!r}"
