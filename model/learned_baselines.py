"""What cheap learners achieve: a network that does not beat them has learned no shapes.

Both see images only as 8 x 8 thumbnails. Measured by the same code as the networks. Imports torch
and scikit-learn, so nothing light may import this module.

Shapes: N images, M some of them, H height, W width, C classes, X the 192 values of a thumbnail.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from model.baselines import Baseline
from model.evaluation import MetricsAccumulator

THUMBNAIL_SIZE = 8
MOST_ITERATIONS = 50
"""Source: on Tiny ImageNet, 100 take twice as long and answer no better (accuracy 0.082)."""
CHUNK_IMAGES = 1024

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Thumbnails:
    """What the learners see of some images, and the classes of these."""

    pixels_NX: Floats
    """8 x 8 means of each channel, on the scale [0, 1]."""
    colours_N3: Floats
    """Mean of each channel over the image, on the scale [0, 1]."""
    labels_N: NDArray[np.int64]


def shrink(
    images_NHWC: NDArray[np.uint8], labels_N: NDArray[np.int64], *, rows_M: NDArray[np.intp]
) -> Thumbnails:
    """Average images over 8 x 8 cells, which differ by a pixel where 8 does not divide the size.

    Args:
        images_NHWC: Square RGB images of at least 8 pixels a side; may be memory-mapped.
        labels_N: Their classes.
        rows_M: Which of them.
    """
    size = images_NHWC.shape[1]
    edges = np.arange(THUMBNAIL_SIZE) * size // THUMBNAIL_SIZE
    sides = np.diff([*edges, size])
    n_pixels_HW1 = np.outer(sides, sides)[..., None]
    pixels_MX = np.empty((len(rows_M), 3 * THUMBNAIL_SIZE**2), dtype=np.float32)
    colours_M3 = np.empty((len(rows_M), 3), dtype=np.float32)
    for start in range(0, len(rows_M), CHUNK_IMAGES):
        chunk = slice(start, start + CHUNK_IMAGES)
        halves = np.add.reduceat(images_NHWC[rows_M[chunk]], edges, axis=1, dtype=np.uint32)
        sums_MHWC = np.add.reduceat(halves, edges, axis=2, dtype=np.uint32)
        pixels_MX[chunk] = (sums_MHWC / n_pixels_HW1 / 255).reshape(len(halves), -1)
        colours_M3[chunk] = sums_MHWC.sum(axis=(1, 2)) / size**2 / 255
    return Thumbnails(pixels_MX, colours_M3, labels_N[rows_M])


def nearest_mean_colour(train: Thumbnails, judged: Thumbnails, *, n_classes: int) -> Baseline:
    """Answer the class whose mean colour is nearest to the mean colour of the image.

    Args:
        train: Every class has an image here.
        judged: What is answered and measured.
        n_classes: Number of classes.
    """
    counts_C = np.bincount(train.labels_N, minlength=n_classes)
    means_C3 = np.stack(
        [
            np.bincount(train.labels_N, weights=channel_N, minlength=n_classes) / counts_C
            for channel_N in train.colours_N3.T
        ],
        axis=1,
    )
    distances_NC = ((judged.colours_N3[:, None] - means_C3) ** 2).sum(axis=2)
    return _measured(-distances_NC, judged.labels_N)


def logistic_regression(train: Thumbnails, judged: Thumbnails) -> Baseline:
    """Answer by multinomial logistic regression on standardised thumbnails.

    L-BFGS, stopped after 50 iterations if it has not converged; nothing in it is random.

    Args:
        train: Every class has an image here.
        judged: What is answered and measured.
    """
    mean_X, std_X = train.pixels_NX.mean(axis=0), train.pixels_NX.std(axis=0)
    scale_X = np.where(std_X > 0, std_X, 1)
    learner = LogisticRegression(max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        learner.fit((train.pixels_NX - mean_X) / scale_X, train.labels_N)
    scores_NC = learner.predict_proba((judged.pixels_NX - mean_X) / scale_X)
    return _measured(scores_NC, judged.labels_N)


def _measured(scores_NC: NDArray[np.floating], labels_N: NDArray[np.int64]) -> Baseline:
    accumulator = MetricsAccumulator(n_classes=scores_NC.shape[1], device=torch.device("cpu"))
    no_loss = torch.zeros(())
    accumulator.update(torch.from_numpy(scores_NC), torch.from_numpy(labels_N), mean_loss=no_loss)
    metrics = accumulator.compute().metrics
    return Baseline(metrics.accuracy, metrics.top5_accuracy, metrics.macro_f1)
