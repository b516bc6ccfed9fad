"""Tiny networks and batches, so that a whole run takes a fraction of a second on one core."""

from collections.abc import Callable, Iterator

import pytest
import torch

from model.configuration import DeviceConfig, NetworkConfig, OptimizationConfig
from model.device import Execution, resolve_execution
from model.evaluation import Batch
from model.training_state import TrainingState, build_training_state

N_CLASSES = 7
N_EPOCHS = 4
BATCH_SIZES = (6, 6, 3)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tensors this small only lose time to threads waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def execution() -> Execution:
    return resolve_execution(DeviceConfig(device="cpu"))


@pytest.fixture
def batches_of() -> Callable[[int], list[Batch]]:
    """From an epoch to its batches, which differ between epochs; epoch 0 serves validation."""

    def build(epoch: int) -> list[Batch]:
        generator = torch.Generator().manual_seed(epoch)
        return [
            (
                torch.randn(size, 3, 8, 8, generator=generator),
                torch.randint(0, N_CLASSES, (size,), generator=generator),
            )
            for size in BATCH_SIZES
        ]

    return build


@pytest.fixture
def build_state(execution: Execution) -> Callable[..., TrainingState]:
    def build(
        optimization: OptimizationConfig | None = None,
        *,
        network: NetworkConfig | None = None,
        seed: int = 1,
        n_epochs: int = N_EPOCHS,
    ) -> TrainingState:
        return build_training_state(
            network or NetworkConfig(blocks=(1, 1, 1), widths=(4, 8, 8)),
            optimization or OptimizationConfig(),
            n_classes=N_CLASSES,
            n_epochs=n_epochs,
            steps_per_epoch=len(BATCH_SIZES),
            seed=seed,
            execution=execution,
        )

    return build
