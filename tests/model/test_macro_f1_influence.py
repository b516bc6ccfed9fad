import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.evaluation import MetricsAccumulator
from model.macro_f1_influence import macro_f1, macro_f1_influence
from model.standard_errors import macro_f1_standard_error

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def predictions(seed: int, n_images: int, n_classes: int, *, part_right: float = 0.5) -> Pairs:
    random = np.random.default_rng(seed)
    labels_N = random.integers(0, n_classes, n_images)
    guessed_N = random.integers(0, n_classes, n_images)
    return labels_N, np.where(random.random(n_images) < part_right, labels_N, guessed_N)


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 7))
def test_macro_f1_is_that_of_an_evaluation(seed: int, n_images: int, n_classes: int) -> None:
    labels_N, predicted_N = predictions(seed, n_images, n_classes)
    accumulator = MetricsAccumulator(n_classes=n_classes, device=torch.device("cpu"))
    logits_BC = torch.nn.functional.one_hot(torch.from_numpy(predicted_N), n_classes).float()
    accumulator.update(logits_BC, torch.from_numpy(labels_N), mean_loss=torch.zeros(()))
    measured = accumulator.compute().metrics.macro_f1
    np.testing.assert_allclose(macro_f1(labels_N, predicted_N), measured, rtol=1e-12)


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 7))
def test_influences_cancel_out(seed: int, n_images: int, n_classes: int) -> None:
    influence_N = macro_f1_influence(*predictions(seed, n_images, n_classes))
    assert len(influence_N) == n_images
    assert abs(influence_N.mean()) < 1e-12


def test_influence_is_what_one_more_image_of_its_kind_changes() -> None:
    labels_N, predicted_N = predictions(1, 400, 5)
    before, influence_N = (
        macro_f1(labels_N, predicted_N),
        macro_f1_influence(labels_N, predicted_N),
    )
    for image in range(0, 400, 37):
        again = [np.append(values_N, values_N[image]) for values_N in (labels_N, predicted_N)]
        change = macro_f1(*again) - before
        np.testing.assert_allclose(change * 401, influence_N[image], rtol=0.05, atol=0.01)


def test_influences_spread_as_macro_f1_does_over_other_images() -> None:
    labels_N, predicted_N = predictions(2, 1000, 10)
    confusion_CC = np.zeros((10, 10), dtype=np.int64)
    np.add.at(confusion_CC, (labels_N, predicted_N), 1)
    error = float(macro_f1_influence(labels_N, predicted_N).std()) / 1000**0.5
    # The bootstrap draws anew within each class, the influence counts all images alike.
    np.testing.assert_allclose(error, macro_f1_standard_error(confusion_CC), rtol=0.1)


def test_classes_without_images_do_not_count() -> None:
    labels_N, predicted_N = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 3])
    assert macro_f1(labels_N, predicted_N) == 2 / 3
    assert macro_f1_influence(labels_N, predicted_N)[1] < 0
