"""Cheap learners, against small cases by hand and scikit-learn's own metrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, top_k_accuracy_score
from sklearn.neighbors import NearestCentroid

from model.learned_baselines import (
    THUMBNAIL_SIZE,
    Thumbnails,
    logistic_regression,
    nearest_mean_colour,
    shrink,
)

IMAGES = st.integers(8, 20).flatmap(
    lambda size: arrays.arrays(np.uint8, st.tuples(*map(st.just, (3, size, size, 3))))
)


def shrunk(images_NHWC: NDArray[np.uint8], labels: list[int]) -> Thumbnails:
    return shrink(images_NHWC, np.array(labels), rows_M=np.arange(len(labels)))


def plain(colours: list[tuple[int, int, int]], labels: list[int]) -> Thumbnails:
    """Images of one colour each."""
    images_NHWC = np.tile(np.array(colours, dtype=np.uint8)[:, None, None], (1, 9, 9, 1))
    return shrunk(images_NHWC, labels)


def noise(seed: int, n_images: int, n_classes: int) -> Thumbnails:
    random = np.random.default_rng(seed)
    labels_N = np.concatenate([np.arange(n_classes), random.integers(0, n_classes, n_images)])
    images_NHWC = random.integers(0, 150, (len(labels_N), 8, 8, 3), dtype=np.uint8)
    images_NHWC[:, 2, 3, 1] += (labels_N * 100 // n_classes).astype(np.uint8)
    return shrunk(images_NHWC, labels_N.tolist())


@given(IMAGES)
def test_thumbnails_are_means_of_cells_and_colours_means_of_images(
    images_NHWC: NDArray[np.uint8],
) -> None:
    found = shrunk(images_NHWC, [0, 1, 2])
    size = images_NHWC.shape[1]
    edges = [n * size // THUMBNAIL_SIZE for n in range(THUMBNAIL_SIZE + 1)]
    cells = found.pixels_NX.reshape(3, THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3)
    for row, column in ((0, 0), (3, 5), (7, 7)):
        rows = slice(edges[row], edges[row + 1])
        columns = slice(edges[column], edges[column + 1])
        expected = images_NHWC[:, rows, columns].mean(axis=(1, 2)) / 255
        np.testing.assert_allclose(cells[:, row, column], expected, atol=1e-6)
    expected = images_NHWC.mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(found.colours_N3, expected, atol=1e-6)


def test_thumbnails_of_some_rows_are_those_of_these_images() -> None:
    images_NHWC = np.random.default_rng(0).integers(0, 256, (3000, 8, 8, 3), dtype=np.uint8)
    rows_M = np.arange(0, 3000, 2)
    some = shrink(images_NHWC, np.arange(3000), rows_M=rows_M)
    np.testing.assert_allclose(some.pixels_NX * 255, images_NHWC[::2].reshape(1500, -1), rtol=1e-5)
    assert some.labels_N.tolist() == rows_M.tolist()


def test_nearest_mean_colour_by_hand() -> None:
    # Class means: 10, 100 and 200 of each channel; 56 lies nearer to 100, 149 too.
    train = plain([(0, 0, 0), (20, 20, 20), (100, 100, 100), (200, 200, 200)], [0, 0, 1, 2])
    judged = plain([(54,) * 3, (56,) * 3, (149,) * 3, (151,) * 3], [0, 0, 2, 2])
    baseline = nearest_mean_colour(train, judged, n_classes=3)
    assert baseline.accuracy == pytest.approx(2 / 4)
    # F1 of the classes with images: 2 of 3 each; nothing is of class 1.
    assert baseline.macro_f1 == pytest.approx(2 / 3)
    assert baseline.top5_accuracy == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_nearest_mean_colour_answers_as_scikit_learn(seed: int) -> None:
    train, judged = noise(seed, 60, 7), noise(seed + 10, 40, 7)
    peer = NearestCentroid().fit(train.colours_N3, train.labels_N)
    answers = peer.predict(judged.colours_N3)
    baseline = nearest_mean_colour(train, judged, n_classes=7)
    assert baseline.accuracy == pytest.approx(accuracy_score(judged.labels_N, answers))
    expected = f1_score(judged.labels_N, answers, average="macro", zero_division=0)
    assert baseline.macro_f1 == pytest.approx(expected)
    distances = np.linalg.norm(judged.colours_N3[:, None] - peer.centroids_[None], axis=2)
    expected = top_k_accuracy_score(judged.labels_N, -distances, k=5, labels=range(7))
    assert baseline.top5_accuracy == pytest.approx(expected)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_regression_tells_plain_colours_apart(n_classes: int) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)][:n_classes]
    train = plain(colours * 4, list(range(n_classes)) * 4)
    baseline = logistic_regression(train, plain(colours, list(range(n_classes))))
    assert (baseline.accuracy, baseline.top5_accuracy, baseline.macro_f1) == (1.0, 1.0, 1.0)


def test_logistic_regression_finds_what_colours_hide_and_is_the_same_twice() -> None:
    train, judged = noise(0, 900, 2), noise(1, 300, 2)
    first, second = (logistic_regression(train, judged) for _ in range(2))
    assert first == second
    assert first.accuracy > nearest_mean_colour(train, judged, n_classes=2).accuracy
