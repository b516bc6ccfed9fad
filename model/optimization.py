"""From configuration to optimizer and learning rate schedule.

Must not know epochs as anything but a number of steps, and nothing of batches or devices.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from model.configuration import OptimizationConfig


def build_optimizer(network: nn.Module, config: OptimizationConfig) -> Optimizer:
    """Build the optimizer over two groups: kernels and matrices first, norms and biases second.

    Args:
        network: Already on its device, since fused optimizers keep their state there.
        config: Optimizer, peak learning rate, weight decay and whom it touches.
    """
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {
            "params": [p for p in parameters if p.ndim <= 1],
            "weight_decay": config.weight_decay if config.decay_norm_and_bias else 0.0,
        },
    ]
    if config.optimizer == "sgd":
        momentum = config.momentum
        return SGD(
            groups, config.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True
        )
    adam_class = AdamW if config.optimizer == "adamw" else Adam
    return adam_class(groups, config.learning_rate, fused=True)


@dataclass(frozen=True)
class Warmup(ABC):
    """Factor on the peak learning rate, in closed form, for each step of one run.

    A callable object with plain fields rather than a closure, so that torch stores it with the
    schedule's state.
    """

    n_warmup_steps: int
    n_steps: int

    def __call__(self, step: int) -> float:
        """Return the factor for the step with this index; after the last step it is asked once.

        Raises:
            ValueError: If the run takes more steps than the schedule was built for.
        """
        if step > self.n_steps:
            raise ValueError(
                f"the schedule covers {self.n_steps} steps, received step {step + 1}: build it "
                "with the run's own n_epochs and the batches' own steps_per_epoch"
            )
        if step < self.n_warmup_steps:
            return (step + 1) / self.n_warmup_steps
        return self.after_warmup(step - self.n_warmup_steps)

    @abstractmethod
    def after_warmup(self, step: int) -> float:
        """Return the factor for a step counted from the end of warm-up."""


@dataclass(frozen=True)
class WarmupThenAnneal(Warmup):
    """After warm-up one cosine that reaches zero after the last step, or the peak kept."""

    cosine: bool

    def after_warmup(self, step: int) -> float:
        """Return the factor for a step counted from the end of warm-up."""
        return _half_cosine(step / (self.n_steps - self.n_warmup_steps)) if self.cosine else 1.0


@dataclass(frozen=True)
class WarmupThenRestarts(Warmup):
    """After warm-up one cosine after the other, each so many times as long as the one before.

    A run may end within a cosine, at a rate that is not zero.

    Source: Loshchilov and Hutter 2016 (arXiv 1608.03983).
    """

    n_restart_steps: int
    restart_factor: int

    def after_warmup(self, step: int) -> float:
        """Return the factor for a step counted from the end of warm-up."""
        length = self.n_restart_steps
        if self.restart_factor == 1:
            return _half_cosine(step % length / length)
        while step >= length:
            step -= length
            length *= self.restart_factor
        return _half_cosine(step / length)


def build_schedule(
    optimizer: Optimizer, config: OptimizationConfig, *, n_epochs: int, steps_per_epoch: int
) -> LambdaLR:
    """Build the schedule of one whole run, to be stepped after every batch.

    Linear warm-up to the peak, then what the configuration says.

    Raises:
        ValueError: If warm-up would take the whole run.
    """
    n_steps = n_epochs * steps_per_epoch
    n_warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    if n_warmup_steps >= n_steps:
        raise ValueError(
            f"warmup_epochs must be shorter than the run of {n_epochs} epoch(s), received "
            f"{config.warmup_epochs}: lower warmup_epochs or train longer"
        )
    if config.schedule == "restarts":
        return LambdaLR(
            optimizer,
            WarmupThenRestarts(
                n_warmup_steps,
                n_steps,
                n_restart_steps=config.restart_epochs * steps_per_epoch,
                restart_factor=config.restart_factor,
            ),
        )
    factor = WarmupThenAnneal(n_warmup_steps, n_steps, config.schedule == "cosine")
    return LambdaLR(optimizer, factor)


def _half_cosine(progress: float) -> float:
    """Fall from one to zero while progress rises from zero to one."""
    return (1 + math.cos(math.pi * progress)) / 2
