"""Whether a winner is better than the control: the test, its interval, what it could detect.

The error of a difference has two parts, those of a two-way layout of runs and images. Runs vary
with their seeds. And the images are a sample, the same for all runs: what sets the two settings
apart on these images would be another on others, however many seeds there are.

Must not import torch. Shape letters: R runs, N images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from dashboards.analysis.welch import Difference, welch

CONFIDENCE = 0.9
"""Of the interval: its lower end lies above the margin where a test at 5 % makes its claim."""
POWER = 0.8
"""With which the least detectable difference would be detected."""


@dataclass(frozen=True)
class JudgedRun:
    """One run on the images that judge it.

    Attributes:
        score: Macro-F1.
        influence_N: Of each image on it, see `model.macro_f1_influence`.
    """

    score: float
    influence_N: NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """How a winner compares with the control, on images that chose neither.

    Attributes:
        difference: Mean score of the winner minus that of the control.
        low: Lower end of the 90 % interval of the difference.
        high: Its upper end.
        seeds_error: The part of the standard error that more seeds would reduce.
        images_error: The part that only more images would.
        degrees: Degrees of freedom of the whole error.
        p_value: One-sided, of a difference of at most the margin.
        alpha: Largest p-value at which the winner is called better.
        margin: What the winner must be better by.
        least_detectable: The true difference that 80 % of such tests would call better.
    """

    difference: float
    low: float
    high: float
    seeds_error: float
    images_error: float
    degrees: float
    p_value: float
    alpha: float
    margin: float
    least_detectable: float

    @property
    def is_better(self) -> bool:
        """Whether the winner may be called better than the control."""
        return self.p_value <= self.alpha

    @property
    def error(self) -> float:
        """Standard error of the difference, of seeds and images together."""
        return math.hypot(self.seeds_error, self.images_error)


def judge(
    winner: Sequence[JudgedRun], control: Sequence[JudgedRun], *, alpha: float, margin: float
) -> Verdict:
    """Compare the runs of a winner with those of the control.

    Welch's test, one-sided, with the images' part in its error; the degrees of freedom after
    Satterthwaite (Biometrics Bulletin 2, 1946).

    Args:
        winner: Two runs or more.
        control: Likewise, on the same images.
        alpha: Largest p-value at which the winner is called better.
        margin: What it must be better by.
    """
    seeds = welch([run.score for run in winner], [run.score for run in control])
    images_error, n_images = images_part(winner, control), len(winner[0].influence_N)
    whole = _with_images(seeds, images_error, n_images)
    low, high = whole.interval(CONFIDENCE)
    return Verdict(
        difference=whole.value,
        low=low,
        high=high,
        seeds_error=seeds.error,
        images_error=images_error,
        degrees=whole.degrees,
        p_value=whole.p_value(margin),
        alpha=alpha,
        margin=margin,
        least_detectable=margin + _least_detectable(whole, alpha),
    )


def images_part(winner: Sequence[JudgedRun], control: Sequence[JudgedRun]) -> float:
    """Return the standard error that a difference has because its images are a sample.

    The difference of mean influences varies from image to image for two reasons: the settings
    fare otherwise on each image, and each run does. The latter, known from the runs of one
    setting, is within the spread of their scores already, and taken off here. Where there is one
    run of each, both are together.

    Args:
        winner: The runs of one setting.
        control: Those of the other, on the same images.
    """
    within = 0.0
    means = []
    for runs in (winner, control):
        influences_RN = np.stack([run.influence_N for run in runs])
        means.append(influences_RN.mean(axis=0))
        if len(runs) > 1:
            within += float(influences_RN.var(axis=0, ddof=1).mean()) / len(runs)
    between = float(np.var(means[0] - means[1], ddof=1))
    return math.sqrt(max(0.0, between - within) / len(means[0]))


def _least_detectable(whole: Difference, alpha: float) -> float:
    if whole.error == 0:
        return 0.0
    reaches = (float(stdtrit(whole.degrees, part)) for part in (1 - alpha, POWER))
    return sum(reaches) * whole.error


def _with_images(seeds: Difference, images_error: float, n_images: int) -> Difference:
    error = math.hypot(seeds.error, images_error)
    if error == 0:
        return seeds
    parts = seeds.error**4 / seeds.degrees + images_error**4 / (n_images - 1)
    return Difference(seeds.value, error, error**4 / parts)
