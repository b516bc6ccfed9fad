import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from model.baselines import majority_baseline, random_baseline

COUNTS = st.lists(st.integers(0, 30), min_size=2, max_size=12).filter(any)


def test_baselines_200_balanced_classes_reach_half_a_percent() -> None:
    counts = [50] * 200
    assert majority_baseline(counts, train_counts=counts).accuracy == pytest.approx(0.005)
    assert random_baseline(counts).accuracy == pytest.approx(0.005)
    assert random_baseline(counts).macro_f1 == pytest.approx(0.005)
    assert random_baseline(counts).top5_accuracy == pytest.approx(0.025)


@given(COUNTS)
def test_majority_any_counts_agree_with_scikit_learn(counts: list[int]) -> None:
    baseline = majority_baseline(counts, train_counts=counts)
    true = np.repeat(np.arange(len(counts)), counts)
    predicted = np.full_like(true, np.argmax(counts))
    present = np.unique(true)
    expected = f1_score(true, predicted, labels=present, average="macro", zero_division=0)
    assert baseline.macro_f1 == pytest.approx(expected)
    assert baseline.accuracy == pytest.approx(max(counts) / sum(counts))
    assert baseline.top5_accuracy == pytest.approx(sum(sorted(counts)[-5:]) / sum(counts))


def test_majority_other_training_counts_decide_the_answer() -> None:
    baseline = majority_baseline([9, 1], train_counts=[1, 9])
    assert baseline.accuracy == pytest.approx(0.1)


def test_baselines_leave_out_classes_without_images() -> None:
    assert majority_baseline([0, 4, 4], train_counts=[9, 1, 1]).macro_f1 == 0
    half = random_baseline([0, 4, 4])
    assert half.accuracy == pytest.approx(1 / 3)
    assert half.macro_f1 == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))


def test_random_skewed_counts_agree_with_many_draws() -> None:
    counts = [4000, 1000, 200]
    true = np.repeat(np.arange(3), counts)
    generator = np.random.default_rng(0)
    scores = [
        f1_score(true, generator.integers(0, 3, len(true)), average="macro") for _ in range(30)
    ]
    assert random_baseline(counts).macro_f1 == pytest.approx(np.mean(scores), abs=0.005)
