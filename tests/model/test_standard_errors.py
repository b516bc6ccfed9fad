import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from model.standard_errors import (
    accuracy_standard_error,
    macro_f1_interval,
    macro_f1_standard_error,
)


@given(accuracy=st.floats(0, 1), n_images=st.integers(1, 100_000))
def test_error_of_an_accuracy_is_that_of_a_mean_of_hits(accuracy: float, n_images: int) -> None:
    n_hits = round(accuracy * n_images)
    spread = np.sqrt(n_hits * (n_images - n_hits)) / n_images
    found = accuracy_standard_error(n_hits / n_images, n_images)
    assert found == pytest.approx(spread / np.sqrt(n_images), abs=1e-9)


def test_error_of_macro_f1_agrees_with_drawing_the_images_themselves() -> None:
    confusion = np.array([[30, 5, 5], [4, 12, 4], [0, 0, 8]])
    true_N, predicted_N = np.indices((3, 3)).reshape(2, 9).repeat(confusion.ravel(), axis=1)
    random = np.random.default_rng(1)
    scores = []
    for _ in range(400):
        rows = np.concatenate(
            [
                random.choice(np.flatnonzero(true_N == label), np.sum(true_N == label))
                for label in range(3)
            ]
        )
        scores.append(f1_score(true_N[rows], predicted_N[rows], average="macro"))
    assert macro_f1_standard_error(confusion) == pytest.approx(np.std(scores), rel=0.15)


def test_error_of_macro_f1_leaves_out_classes_without_images() -> None:
    confusion = np.array([[8, 2], [3, 7]])
    with_third = np.pad(confusion, ((0, 1), (0, 1)))
    assert macro_f1_standard_error(with_third) == macro_f1_standard_error(confusion)


def test_error_of_a_perfect_matrix_is_zero_and_of_any_other_the_same_each_time() -> None:
    assert macro_f1_standard_error(np.diag([3, 0, 5])) == pytest.approx(0)
    confusion = np.random.default_rng(0).integers(0, 4, (20, 20))
    assert macro_f1_standard_error(confusion) == macro_f1_standard_error(confusion) > 0


def test_interval_of_macro_f1_holds_as_many_draws_as_it_says() -> None:
    confusion = np.array([[30, 5, 5], [4, 12, 4], [0, 0, 8]])
    error = macro_f1_standard_error(confusion)
    low, high = macro_f1_interval(confusion)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)
    narrow = macro_f1_interval(confusion, confidence=0.5)
    assert low < narrow[0] < narrow[1] < high
    assert macro_f1_interval(np.array([[4, 0], [0, 6]])) == (1.0, 1.0)
