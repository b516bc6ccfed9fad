"""What each image contributes to macro-F1, for errors over images. Must not import torch.

Shape letters: N images, C classes.
"""

import numpy as np
from numpy.typing import NDArray


def macro_f1(labels_N: NDArray[np.int64], predicted_N: NDArray[np.int64]) -> float:
    """Return macro-F1 over the classes that have an image, as `model.evaluation` does."""
    hits_C, counts_C, is_present_C = _counts(labels_N, predicted_N)
    return float(np.mean((2 * hits_C / np.maximum(counts_C, 1))[is_present_C]))


def macro_f1_influence(
    labels_N: NDArray[np.int64], predicted_N: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the influence of each image on macro-F1 (Hampel 1974, the infinitesimal jackknife).

    The mean over all images is zero. Over other images of the same kind, macro-F1 varies as the
    mean of so many influences does: that of a difference of two predictions as the mean of the
    difference of theirs.

    Args:
        labels_N: The class of each image.
        predicted_N: The class predicted for it.
    """
    hits_C, counts_C, is_present_C = _counts(labels_N, predicted_N)
    weights_C = np.where(is_present_C, 1 / np.maximum(counts_C, 1), 0.0)
    f1_C = 2 * hits_C * weights_C
    is_hit_N = labels_N == predicted_N
    gained_N = 2 * np.where(is_hit_N, weights_C[labels_N], 0.0)
    counted_N = (f1_C * weights_C)[labels_N] + (f1_C * weights_C)[predicted_N]
    scale = len(labels_N) / int(is_present_C.sum())
    return np.asarray(scale * (gained_N - counted_N))


def _counts(
    labels_N: NDArray[np.int64], predicted_N: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the hits of each class, its images and predictions together, whether it has images.

    F1 is twice the former divided by the latter.
    """
    n_classes = int(max(labels_N.max(), predicted_N.max())) + 1
    supports_C = np.bincount(labels_N, minlength=n_classes)
    hits_C = np.bincount(labels_N[labels_N == predicted_N], minlength=n_classes)
    counts_C = supports_C + np.bincount(predicted_N, minlength=n_classes)
    return hits_C, counts_C, supports_C > 0
