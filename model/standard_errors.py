"""How far metrics would vary over other images of the same kind. Must not import torch."""

import math

import numpy as np
from numpy.typing import NDArray

N_DRAWS = 1000
SEED = 0


def accuracy_standard_error(accuracy: float, n_images: int) -> float:
    """Return the binomial standard error of an accuracy measured on so many images."""
    return math.sqrt(accuracy * (1 - accuracy) / n_images)


def macro_f1_standard_error(confusion_CC: NDArray[np.int64]) -> float:
    """Return the bootstrap standard error of macro-F1 (Efron and Tibshirani 1993, chapter 6).

    Images are drawn anew with replacement, within each class as many as there are: 1,000 times,
    from one seed, so that equal matrices have equal errors. Classes without an image count as
    little as in macro-F1 itself.

    Args:
        confusion_CC: Counts, square, rows are true classes.
    """
    return float(np.std(_draw_macro_f1(confusion_CC), ddof=1))


def macro_f1_interval(
    confusion_CC: NDArray[np.int64], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the bootstrap interval of macro-F1: percentiles of the same 1,000 draws.

    Args:
        confusion_CC: Counts, square, rows are true classes.
        confidence: Part of the draws that lie within it.
    """
    outside = 100 * (1 - confidence) / 2
    low, high = np.percentile(_draw_macro_f1(confusion_CC), [outside, 100 - outside])
    return float(low), float(high)


def _draw_macro_f1(confusion_CC: NDArray[np.int64]) -> list[np.float64]:
    n_classes = len(confusion_CC)
    supports_C = confusion_CC.sum(axis=1)
    starts_N = np.repeat(np.cumsum(supports_C) - supports_C, supports_C)
    supports_N = np.repeat(supports_C, supports_C)
    true_N = np.repeat(np.arange(n_classes), supports_C)
    predicted_N = np.repeat(np.tile(np.arange(n_classes), n_classes), confusion_CC.ravel())
    random = np.random.default_rng(SEED)
    scores = []
    for _ in range(N_DRAWS):
        drawn_N = predicted_N[starts_N + (random.random(len(true_N)) * supports_N).astype(int)]
        hits_C = np.bincount(true_N[drawn_N == true_N], minlength=n_classes)
        predicted_C = np.bincount(drawn_N, minlength=n_classes)
        f1_C = 2 * hits_C / np.maximum(supports_C + predicted_C, 1)
        scores.append(np.mean(f1_C[supports_C > 0]))
    return scores
