"""Made-up searches and runs: true qualities, seeds that vary, and images that are a sample.

Shape letters: N images, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from benchmarks.recorded_curves import Table
from benchmarks.search_policies import Policy, settings
from benchmarks.simulated_search import Search
from dashboards.analysis.confirmation.verdict import JudgedRun
from model.macro_f1_influence import macro_f1, macro_f1_influence
from storage.trial_rows import TrialRow

POINT = 0.01
ACCURACY = 0.5
"""Of the default."""
DIFFICULTY = 1.5
"""Deviation of the images' difficulty, in logits."""
TASTE = 0.6
"""Deviation of what a setting makes of an image, in logits: what more seeds do not average out."""


@dataclass(frozen=True)
class Searched:
    """A search as a confirmation finds it.

    Attributes:
        rows: Complete trials, with their scores.
        qualities: What each is truly worth, in points above the default, which is the first.
    """

    rows: Sequence[TrialRow]
    qualities: Sequence[float]

    @property
    def best(self) -> float:
        """True quality of the best trial."""
        return max(self.qualities)


def search(table: Table, n_trials: int, *, gap: float, deviation: float, seed: int) -> Searched:
    """Run a search by the product's sampler on recorded scores, made noisy.

    Args:
        table: Whose last scores are the true qualities.
        n_trials: All of them complete, where no setting of the table has diverged.
        gap: By how many points the default lies below the best trial; 0: all settings are equal.
        deviation: Of a score over seeds, in points.
        seed: Of sampler and noise.
    """
    noises = deviation * np.random.default_rng(seed).standard_normal(len(table.settings))
    weight = 1.0 if gap else 0.0
    curves = [weight * curve + noise for curve, noise in zip(table.curves, noises, strict=True)]
    policy = Policy("none", settings(pruner="none"))
    simulated = Search(replace(table, curves=curves), policy, seed=seed)
    simulated.run(n_workers=1, budget=n_trials)
    scores = [trial.value for trial in simulated.study.get_trials(deepcopy=False)]
    chosen = [one for one, score in zip(simulated.settings, scores, strict=True) if score]
    true = [weight * float(table.curves[setting][-1]) for setting in chosen]
    qualities = [gap + one - max(true) for one in true]
    rows = [
        _row(number, dict(table.settings[setting]), (quality + noises[setting]) * POINT)
        for number, (setting, quality) in enumerate(zip(chosen, qualities, strict=True))
    ]
    return Searched(rows, qualities)


def _row(number: int, params: dict[str, Any], score: float) -> TrialRow:
    return TrialRow(
        trial_id=number,
        number=number,
        slot=number,
        state="complete",
        value=score,
        best_epoch=None,
        epochs_done=0,
        last_macro_f1=None,
        params=params,
        reason=None,
        host=None,
        seconds=0.0,
        attributes={},
    )


class Images:
    """A sample of images, as hard as they happen to be, and what two settings make of each.

    Args:
        n_images: How many.
        n_classes: Of equal numbers of images.
        random: Draws them.
    """

    def __init__(self, n_images: int, n_classes: int, random: np.random.Generator) -> None:
        self._labels_N = np.arange(n_images) % n_classes
        self._n_classes = n_classes
        self._difficulty_N = DIFFICULTY * random.standard_normal(n_images)
        self._random = random

    def runs(self, quality: float, n_seeds: int, *, deviation: float) -> list[JudgedRun]:
        """Return the runs of a setting.

        Args:
            quality: Of the setting, in points above the default.
            n_seeds: How many runs.
            deviation: Of a run over seeds, on infinitely many images, in points.
        """
        spread = float(np.hypot(DIFFICULTY, TASTE))
        ability = _ability(ACCURACY + quality * POINT, spread)
        tastes_N = TASTE * self._random.standard_normal(len(self._labels_N))
        scale = deviation * POINT / _slope(ability, spread)
        return [
            self._judge(expit(ability + scale * luck + self._difficulty_N + tastes_N))
            for luck in self._random.standard_normal(n_seeds)
        ]

    def _judge(self, chances_N: NDArray[np.float64]) -> JudgedRun:
        """Return a run that is right on each image with some probability."""
        is_right_N = self._random.random(len(chances_N)) < chances_N
        others_N = self._random.integers(1, self._n_classes, len(chances_N))
        wrong_N = (self._labels_N + others_N) % self._n_classes
        predicted_N = np.where(is_right_N, self._labels_N, wrong_N)
        return JudgedRun(
            macro_f1(self._labels_N, predicted_N), macro_f1_influence(self._labels_N, predicted_N)
        )


class InfinitelyMany:
    """As many images as it takes for scores to be exact.

    Args:
        random: Draws the seeds.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def runs(self, quality: float, n_seeds: int, *, deviation: float) -> list[JudgedRun]:
        """Return the runs of a setting, as `Images.runs` does."""
        return [
            JudgedRun(ACCURACY + POINT * (quality + deviation * luck), np.zeros(2))
            for luck in self._random.standard_normal(n_seeds)
        ]


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
"""For the mean over a normal distribution."""


def _accuracy(ability: float, spread: float) -> float:
    return float(WEIGHTS @ expit(ability + spread * NODES) / WEIGHTS.sum())


def _slope(ability: float, spread: float) -> float:
    chances = expit(ability + spread * NODES)
    return float(WEIGHTS @ (chances * (1 - chances)) / WEIGHTS.sum())


def _ability(accuracy: float, spread: float) -> float:
    """Return the ability, in logits, of a setting with this accuracy over all images."""
    ability = float(logit(accuracy))
    for _ in range(20):
        ability += (accuracy - _accuracy(ability, spread)) / _slope(ability, spread)
    return ability
