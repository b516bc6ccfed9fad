"""Where and how tensors are computed: device, precision, memory format, threads.

The only module of this room that reads the machine. Must not import the other modules that use it.
"""

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from model.configuration import DeviceConfig
from model.errors import DeviceUnavailableError


@dataclass(frozen=True)
class Execution:
    """A device configuration with every ``auto`` resolved."""

    device: torch.device
    precision: Literal["float32", "bfloat16"]
    compile: bool
    channels_last: bool

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of image tensors and convolution kernels."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> torch.autocast:
        """Return the context in which forward passes run."""
        enabled = self.precision == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def place(self, network: nn.Module) -> None:
        """Move a network to the device and, where asked for, compile it; both in place.

        Compiling in place keeps the names in the state dict, so that checkpoints of compiled and
        plain networks are the same.
        """
        # torch's stubs know no overload for a memory format together with a device.
        network.to(device=self.device, memory_format=self.memory_format)  # type: ignore[call-overload]
        if self.compile:
            network.compile()

    def place_batch(
        self, images_BCHW: torch.Tensor, labels_B: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Move a batch to the device; free of charge where it already is there."""
        return (
            images_BCHW.to(self.device, memory_format=self.memory_format, non_blocking=True),
            labels_B.to(self.device, non_blocking=True),
        )


def resolve_execution(config: DeviceConfig) -> Execution:
    """Decide device and precision on this machine.

    Raises:
        DeviceUnavailableError: If a CUDA device is asked for that this machine does not have.
    """
    device = _resolve_device(config.device)
    if config.precision == "auto":
        precision: Literal["float32", "bfloat16"] = (
            "bfloat16" if device.type == "cuda" else "float32"
        )
    else:
        precision = config.precision
    return Execution(
        device=device,
        precision=precision,
        compile=config.compile,
        channels_last=config.channels_last,
    )


def _resolve_device(name: str) -> torch.device:
    """Turn a configured name into a device that exists, CUDA devices with their index."""
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    device = torch.device("cuda:0" if name == "cuda" else name)
    n_devices = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= n_devices:
        raise DeviceUnavailableError(
            f"execution.device must exist on this machine, received {name!r} with {n_devices} "
            "CUDA device(s) visible: use 'auto' or 'cpu', or check CUDA_VISIBLE_DEVICES"
        )
    return device


def set_threads(n_threads: int) -> None:
    """Set the CPU threads of one operation; results may differ in the last bits between counts."""
    torch.set_num_threads(n_threads)


def describe_execution(execution: Execution) -> dict[str, str | int]:
    """Return what decides the last bits of a result besides code, data and seed, as JSON values.

    Returns:
        Model of the processor or GPU, the vector instructions that torch uses on the CPU, the
        precision, and the CPU threads of one operation in this process.
    """
    device = execution.device
    is_gpu = device.type == "cuda"
    return {
        "device_model": torch.cuda.get_device_name(device) if is_gpu else _processor_model(),
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "precision": execution.precision,
        "threads": torch.get_num_threads(),
    }


def _processor_model() -> str:
    """Return the model of the CPU, or its architecture where Linux does not name it."""
    described = Path("/proc/cpuinfo").read_text(errors="replace")
    named = re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    return named[1].strip() if named else platform.machine()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a computation failed for want of memory, on any device."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def is_device_fault(error: BaseException) -> bool:
    """Return whether a GPU failed, after which nothing computes on it any more."""
    failed = isinstance(error, RuntimeError) and str(error).startswith(
        ("CUDA error", "cuDNN error")
    )
    return failed or isinstance(error, torch.AcceleratorError)


@contextmanager
def reproducible_kernels() -> Iterator[None]:
    """Let cuDNN use only deterministic kernels, chosen without timing, within the context."""
    cudnn = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.benchmark)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
