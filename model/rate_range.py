"""The range test: one run whose learning rate rises from step to step, with the usual step.

Must not know files or configurations; what follows from the losses is in `model/rate_curve.py`.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice

import torch
from torch.optim.lr_scheduler import LambdaLR

from model.device import reproducible_kernels
from model.rate_curve import RateCurve, has_diverged
from model.seeds import derive_seed
from model.targets import TrainBatch
from model.training import train_once
from model.training_state import TrainingState


@dataclass(frozen=True)
class ExponentialRise:
    """Factor on the configured learning rate: from the first to the last step, `low` to `high`."""

    low: float
    high: float
    n_steps: int

    def __call__(self, step: int) -> float:
        """Return the factor for the step with this index."""
        return float(self.low * (self.high / self.low) ** (step / (self.n_steps - 1)))


def measure_rates(
    state: TrainingState,
    batches: Callable[[int], Iterable[TrainBatch]],
    *,
    rates: tuple[float, float],
    n_steps: int,
    seed: int,
) -> RateCurve:
    """Train while the learning rate rises, until the last step or until the loss explodes.

    Source: Smith 2017 (arXiv 1506.01186, section 3.3), with an exponential rise.

    Args:
        state: A fresh one; its schedule is replaced.
        batches: From the epoch, the first being 1, to batches; as many epochs as are needed.
        rates: Of the first and of the last step, rising.
        n_steps: At least two.
        seed: Dropout depends on it. Seeds torch's global generators.
    """
    low, high = (rate / state.optimization.learning_rate for rate in rates)
    state.schedule = LambdaLR(state.optimizer, ExponentialRise(low, high, n_steps))
    torch.manual_seed(derive_seed(seed, "rate range"))
    measured: list[tuple[float, float]] = []
    with reproducible_kernels():
        for batch in islice(_endless(batches), n_steps):
            trained = train_once(state, [batch])
            rate, loss = trained.learning_rate, trained.metrics.loss
            losses = [*(loss for _, loss in measured), loss]
            if not math.isfinite(loss) or has_diverged(losses):
                return _curve(measured, diverged_at=rate)
            measured.append((rate, loss))
    return _curve(measured, diverged_at=None)


def _endless(batches: Callable[[int], Iterable[TrainBatch]]) -> Iterator[TrainBatch]:
    for epoch in count(1):
        yield from batches(epoch)


def _curve(measured: list[tuple[float, float]], *, diverged_at: float | None) -> RateCurve:
    rates, losses = zip(*measured, strict=True) if measured else ((), ())
    return RateCurve(rates, losses, diverged_at)
