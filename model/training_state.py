"""Everything that a run needs to go on as if it had never stopped.

Plain containers and tensors only, so that a checkpoint loads with ``weights_only=True``.
Must not know files, nor where checkpoints go.
"""

import copy
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from model.configuration import EvaluationConfig, NetworkConfig, OptimizationConfig
from model.device import Execution
from model.evaluation import Metrics
from model.network import build_network
from model.optimization import build_optimizer, build_schedule
from model.seeds import derive_seed
from model.weight_averaging import AveragedNetwork


@dataclass(frozen=True)
class EpochResult:
    """What one epoch achieved.

    Attributes:
        epoch: The first is 1.
        train: Measured on the augmented batches while the network learned, dropout active; the
            loss is the optimised one, label smoothing included. An image that CutMix has made of
            two counts for the class of its larger part.
        validation: Measured after the epoch, of the averaged weights where there are some; the
            loss is plain cross-entropy.
        learning_rate: The one that the epoch's last step used.
        gradient_norm: Mean over the epoch's steps, before clipping.
        seconds: Wall time of training and validation together.
        images_per_second: Training images over the wall time of training alone.
    """

    epoch: int
    train: Metrics
    validation: Metrics
    learning_rate: float
    gradient_norm: float
    seconds: float
    images_per_second: float

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """Rebuild a result from what ``dataclasses.asdict`` made of it."""
        metrics = {split: Metrics(**plain[split]) for split in ("train", "validation")}
        return cls(**(plain | metrics))


@dataclass(frozen=True)
class BestEpoch:
    """The first epoch with the highest validation macro-F1."""

    epoch: int
    macro_f1: float


@dataclass
class TrainingState:
    """A network on its way: weights, optimizer, schedule and the epochs behind it."""

    network: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    optimization: OptimizationConfig
    execution: Execution
    n_classes: int
    evaluation: EvaluationConfig = EvaluationConfig()
    averaged: AveragedNetwork | None = None
    history: list[EpochResult] = field(default_factory=list)

    @property
    def evaluated_network(self) -> nn.Module:
        """What is evaluated, and saved as the best: the average, or the network that learns."""
        return self.network if self.averaged is None else self.averaged.network

    @property
    def epochs_done(self) -> int:
        """Number of complete epochs, training and validation."""
        return len(self.history)

    @property
    def best(self) -> BestEpoch | None:
        """The best epoch so far; none before the first."""
        if not self.history:
            return None
        result = max(self.history, key=lambda result: result.validation.macro_f1)
        return BestEpoch(epoch=result.epoch, macro_f1=result.validation.macro_f1)

    def is_over(self, *, n_epochs: int, patience_epochs: int | None) -> bool:
        """Return whether the run has its last epoch behind it.

        Args:
            n_epochs: Epochs of the whole run.
            patience_epochs: A run also ends when so many epochs have passed since its best one;
                none: it never does.
        """
        if self.epochs_done >= n_epochs:
            return True
        if self.best is None or patience_epochs is None:
            return False
        return self.epochs_done - self.best.epoch >= patience_epochs

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain containers; tensors are the live ones, as torch's own are."""
        averaged = {} if self.averaged is None else {"averaged": self.averaged.state_dict()}
        return averaged | {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epochs_done": self.epochs_done,
            "best": asdict(self.best) if self.best else None,
            "history": [asdict(result) for result in self.history],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over another run's state, sharing no tensor with it.

        Raises:
            ValueError: If the other run had another schedule, or only one of them averages.
        """
        own, received = self.schedule.state_dict(), state_dict["schedule"]
        if own["lr_lambdas"] != received["lr_lambdas"]:
            raise ValueError(
                "a state resumes only under the schedule that it was saved with, received one of "
                f"{received['lr_lambdas'][0]} for {own['lr_lambdas'][0]}: keep n_epochs, batch "
                "size, training set, schedule and warmup_epochs, or start a new run"
            )
        if ("averaged" in state_dict) != (self.averaged is not None):
            raise ValueError(
                "a state resumes only with averaged weights as it was saved, received one "
                f"{'with' if self.averaged is None else 'without'} them: keep ema_decay, or "
                "start a new run"
            )
        self.network.load_state_dict(state_dict["network"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state_dict["averaged"])
        # Optimizers and schedules keep references to what they load.
        self.optimizer.load_state_dict(copy.deepcopy(state_dict["optimizer"]))
        self.schedule.load_state_dict(copy.deepcopy(received))
        self.history = [EpochResult.from_dict(plain) for plain in state_dict["history"]]


def build_training_state(
    network_config: NetworkConfig,
    optimization_config: OptimizationConfig,
    *,
    n_classes: int,
    n_epochs: int,
    steps_per_epoch: int,
    seed: int,
    execution: Execution,
    evaluation: EvaluationConfig | None = None,
) -> TrainingState:
    """Build a fresh run; equal seeds give equal weights on every device.

    Args:
        network_config: Shape of the network.
        optimization_config: Optimizer, schedule and loss.
        n_classes: Length of the logits.
        n_epochs: Epochs of the whole run, over which the learning rate anneals.
        steps_per_epoch: Batches in each training epoch.
        seed: Of the run; the weights depend on nothing else.
        execution: Where and how the network runs.
        evaluation: How the network is judged; default plainly.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial weights"))
        network = build_network(network_config, n_classes=n_classes)
    execution.place(network)
    decay = optimization_config.ema_decay
    averaged = None
    if decay is not None:
        averaged = AveragedNetwork(network, decay=decay, execution=execution)
    optimizer = build_optimizer(network, optimization_config)
    schedule = build_schedule(
        optimizer, optimization_config, n_epochs=n_epochs, steps_per_epoch=steps_per_epoch
    )
    return TrainingState(
        network=network,
        optimizer=optimizer,
        schedule=schedule,
        optimization=optimization_config,
        execution=execution,
        n_classes=n_classes,
        evaluation=evaluation or EvaluationConfig(),
        averaged=averaged,
    )


def evaluated_weights(state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return those weights of a state dict that its run evaluates."""
    averaged = state_dict.get("averaged", state_dict)
    weights: dict[str, Any] = averaged["network"]
    return weights
