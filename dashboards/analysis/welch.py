"""Tell a difference of means from none: Welch's t test, and Holm's correction for several.

Must not import torch.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit


@dataclass(frozen=True)
class Difference:
    """A difference of two means.

    Attributes:
        value: The first mean minus the second.
        error: Its standard error; 0 where nothing spreads, so that any difference is certain.
        degrees: Degrees of freedom of Student's t.
    """

    value: float
    error: float
    degrees: float

    def p_value(self, margin: float = 0.0) -> float:
        """Return how likely such a difference, or a larger one, is where the true one is `margin`.

        Args:
            margin: The largest difference that does not count.
        """
        beyond = self.value - margin
        if self.error == 0:
            return 0.0 if beyond > 0 else 1.0
        return float(stdtr(self.degrees, -beyond / self.error))

    def p_two_sided(self) -> float:
        """Return how likely such a difference of either sign is where there is none."""
        if self.error == 0:
            return 0.0 if self.value else 1.0
        return 2 * float(stdtr(self.degrees, -abs(self.value) / self.error))

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the two-sided confidence interval.

        Args:
            confidence: How often such intervals hold the true difference, between 0 and 1.
        """
        reach = 0.0
        if self.error > 0:
            reach = float(stdtrit(self.degrees, (1 + confidence) / 2)) * self.error
        return self.value - reach, self.value + reach


def welch(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Return the mean of a minus that of b, each with the spread of its own few values.

    Source: B. L. Welch, "The generalization of 'Student's' problem when several different
    population variances are involved", Biometrika 34, 1947.

    Raises:
        ValueError: If either has fewer than two values: its spread is unknown.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"welch needs two values of each, got {len(a)} and {len(b)}")
    parts = [(statistics.variance(values) / len(values), len(values)) for values in (a, b)]
    square = sum(part for part, _ in parts)
    # Not `fmean`, by which equal values would differ with their number.
    value = statistics.mean(a) - statistics.mean(b)
    if square == 0:
        return Difference(value, 0.0, len(a) + len(b) - 2)
    degrees = 1 / sum((part / square) ** 2 / (n - 1) for part, n in parts)
    return Difference(value, math.sqrt(square), degrees)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values so corrected that any false alarm among them is as rare as each says.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
    Journal of Statistics 6, 1979.

    Args:
        p_values: One of each difference that was tested.
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected
