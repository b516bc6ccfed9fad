"""Whether the best trials differ by more than runs of one configuration. Must not import torch."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.analysis.confidence import STANDARD_ERRORS
from dashboards.analysis.diagnosis.evidence import Evidence
from storage.diagnosed_trials import ScoredTrial

MOST_COMPARED = 5
FEWEST_COMPARED = 2
FEWEST_FREE = 3
"""Runs beyond the first of each repeated configuration, before the noise counts as known."""

Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Noise:
    """How much runs of one configuration differ between seeds.

    Attributes:
        deviation: Standard deviation, pooled over the configurations.
        n_runs: Runs of these configurations.
        n_configurations: How many there are.
    """

    deviation: float
    n_runs: int
    n_configurations: int


def describe_spread(evidence: Evidence) -> list[str]:
    """Return whether noise between seeds hides the order of the best configurations."""
    noise = measure_noise(evidence.repeats)
    if noise is None or noise.deviation == 0:
        return []
    runs = _group_by_configuration([*evidence.repeats, *evidence.best])
    means = sorted(((statistics.mean(scores), len(scores)) for scores in runs), reverse=True)
    best = means[:MOST_COMPARED]
    if len(best) < FEWEST_COMPARED:
        return []
    (highest, n_first), (lowest, n_last) = best[0], best[-1]
    error = noise.deviation * math.sqrt(1 / n_first + 1 / n_last)
    if highest - lowest > STANDARD_ERRORS * error:
        return []
    return [
        f"The best {len(best)} configurations lie within {100 * (highest - lowest):.2g} points of "
        f"macro-F1, and runs of one configuration differ by {100 * noise.deviation:.2g} between "
        f"seeds (standard deviation, {noise.n_runs} runs of {noise.n_configurations} "
        f"configuration{'s' if noise.n_configurations > 1 else ''}): their order is not told. "
        "Repeat each before you choose, `study grid --axis seed=1,2,3,4,5 --set ...`."
    ]


def measure_noise(repeats: Sequence[ScoredTrial]) -> Noise | None:
    """Return how runs of one configuration differ; None where too few are repeated."""
    repeated = [scores for scores in _group_by_configuration(repeats) if len(scores) > 1]
    n_runs = sum(map(len, repeated))
    n_free = n_runs - len(repeated)
    if n_free < FEWEST_FREE:
        return None
    squares = sum(statistics.variance(scores) * (len(scores) - 1) for scores in repeated)
    return Noise(math.sqrt(squares / n_free), n_runs, len(repeated))


def _group_by_configuration(runs: Sequence[ScoredTrial]) -> list[list[float]]:
    """Return the scores of each configuration, one of each seed: the earliest trial's."""
    groups: dict[Key, dict[object, float]] = defaultdict(dict)
    for trial in sorted(runs, key=lambda trial: trial.number):
        groups[_key(trial)].setdefault(trial.seed, trial.value)
    return [sorted(scores.values()) for scores in groups.values()]


def _key(trial: ScoredTrial) -> Key:
    return tuple(sorted((name, repr(value)) for name, value in trial.params.items()))
