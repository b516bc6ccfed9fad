"""What a range test has measured: the loss at each learning rate, and what follows from it.

Imports no torch, for commands and reports read curves without training.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

SMOOTHING = 0.9
DIVERGED_FACTOR = 4.0
LEAST_FALL = 0.01
"""Part of the first loss; what falls less may be the noise of batches."""


def smooth(losses: Sequence[float], *, smoothing: float = SMOOTHING) -> list[float]:
    """Return the exponential average of the losses so far, corrected for its start from zero.

    Args:
        losses: One for each step.
        smoothing: Weight of the past in each step, in [0, 1).
    """
    average, smoothed = 0.0, []
    for step, loss in enumerate(losses, start=1):
        average = smoothing * average + (1 - smoothing) * loss
        smoothed.append(average / (1 - smoothing**step))
    return smoothed


def has_diverged(losses: Sequence[float]) -> bool:
    """Return whether the last smoothed loss is not finite or beyond four times the best."""
    smoothed = smooth(losses)
    return not smoothed[-1] <= DIVERGED_FACTOR * min(smoothed)


@dataclass(frozen=True)
class RateCurve:
    """Losses at rising learning rates.

    Attributes:
        rates: Rising, one for each step.
        losses: Of each step's batch before its update; all finite.
        diverged_at: The rate at which the test was stopped; none where it reached its end.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    diverged_at: float | None

    @cached_property
    def smoothed(self) -> tuple[float, ...]:
        """The smoothed losses."""
        return tuple(smooth(self.losses))

    @property
    def lowest(self) -> int | None:
        """Index of the lowest smoothed loss; none where the loss never falls."""
        if not self.smoothed or min(self.smoothed) > (1 - LEAST_FALL) * self.smoothed[0]:
            return None
        return int(np.argmin(self.smoothed))

    @property
    def steepest_rate(self) -> float | None:
        """The rate at which the smoothed loss falls fastest over the rate's logarithm."""
        if self.lowest is None:
            return None
        slopes = np.gradient(self.smoothed, np.log(self.rates))
        return self.rates[int(np.argmin(slopes[: self.lowest + 1]))]

    @property
    def suggested_rate(self) -> float | None:
        """The first rate that has half of the smoothed loss's fall behind it.

        Of the customary choices it varies least between seeds and lengths. On ten classes of
        Tiny ImageNet (1,500 images of 32 px, widths 8, 16, 32) it was 0.03 to 0.10 for sgd and
        0.002 to 0.003 for adam in 300 steps (four seeds), 0.04 to 0.12 and 0.005 to 0.009 in 100
        steps (three seeds); runs of six epochs do best from 0.1 to 1 and from 0.003 to 0.03. A
        tenth of the rate with the lowest loss was 0.04 to 0.07 and 0.002 to 0.005, in 100 steps
        0.03 to 0.2 and 0.006 to 0.04; the steepest 0.08 to 0.15 and 0.005 to 0.04, in 100 steps
        0.2 to 1.6 and 0.05 to 0.12.

        Source of the other two: Smith 2017 (arXiv 1506.01186); fastai's learning rate finder.
        """
        if self.lowest is None:
            return None
        half = (self.smoothed[0] + self.smoothed[self.lowest]) / 2
        return next(
            rate for rate, loss in zip(self.rates, self.smoothed, strict=True) if loss <= half
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the curve as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """Rebuild a curve from what `as_dict` made of it."""
        return cls(tuple(plain["rates"]), tuple(plain["losses"]), plain["diverged_at"])
