"""Splits are disjoint, complete, stable and stratified, whatever the class sizes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.configuration import DataConfig
from data.errors import DataError
from data.splits import SplitRows, choose_rows, share

SIZES = st.lists(st.integers(3, 60), min_size=2, max_size=8)


def names(n: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(n))


def shuffled_labels(sizes: list[int], seed: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    labels_N = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(labels_N)


def split(sizes: list[int], **settings_: Any) -> dict[str, SplitRows]:
    labels = {"train": shuffled_labels(sizes)}
    return choose_rows(labels, names(len(sizes)), config=DataConfig(**settings_))


@given(SIZES, st.integers(0, 9))
def test_splits_of_train_are_disjoint_complete_and_correctly_labelled(
    sizes: list[int], seed: int
) -> None:
    parts = split(sizes, split_seed=seed)

    rows = np.concatenate([part.rows_N for part in parts.values()])
    assert sorted(rows) == list(range(sum(sizes)))
    for name, part in parts.items():
        assert (shuffled_labels(sizes)[part.rows_N] == part.labels_N).all()
        assert name == "confirmation" or set(part.labels_N) == set(range(len(sizes)))


@given(SIZES)
def test_splits_repeated_are_the_same_and_follow_the_seed(sizes: list[int]) -> None:
    first, again = split(sizes), split(sizes)
    assert all((first[name].rows_N == again[name].rows_N).all() for name in first)


def test_splits_with_another_seed_differ() -> None:
    assert (split([50, 50])["test"].rows_N != split([50, 50], split_seed=1)["test"].rows_N).any()


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20), st.data())
def test_share_is_complete_and_near_the_proportion(sizes: list[int], data: st.DataObject) -> None:
    sizes_C = np.array(sizes)
    n_filled = int(np.count_nonzero(sizes_C))
    total = data.draw(st.integers(n_filled, int(sizes_C.sum())))

    shares_C = share(sizes_C, total=total)

    assert shares_C.sum() == total
    assert (shares_C <= sizes_C).all()
    assert (shares_C[sizes_C > 0] >= 1).all()
    if n_filled and (sizes_C[sizes_C > 0] * total / sizes_C.sum() >= 1).all():
        assert (abs(shares_C - sizes_C * total / sizes_C.sum()) < 1).all()


def test_splits_of_balanced_classes_are_exactly_balanced() -> None:
    parts = split([500] * 7)
    assert [np.bincount(part.labels_N).tolist() for part in parts.values()] == [
        [400] * 7,
        [25] * 7,
        [25] * 7,
        [50] * 7,
    ]


def test_splits_of_a_class_do_not_depend_on_the_number_of_classes() -> None:
    labels = {"train": shuffled_labels([40] * 10)}
    config = DataConfig()
    few, many = (choose_rows(labels, names(n), config=config)["test"] for n in (3, 10))
    assert (few.rows_N == many.rows_N[many.labels_N < 3]).all()


def test_limits_take_nested_stratified_subsets() -> None:
    small, large = (split([40] * 5, train_limit=n)["train"] for n in (10, 20))
    assert np.bincount(small.labels_N).tolist() == [2] * 5
    assert set(small.rows_N) < set(large.rows_N)


def test_limits_leave_the_other_splits_alone() -> None:
    limited, whole = split([40] * 5, train_limit=10), split([40] * 5)
    assert (limited["test"].rows_N == whole["test"].rows_N).all()


def test_given_validation_is_used_and_unlabelled_test_is_not() -> None:
    labels = {
        "train": shuffled_labels([20, 20]),
        "validation": shuffled_labels([5, 5]),
        "test": np.full(8, -1),
    }
    parts = choose_rows(labels, names(2), config=DataConfig(confirm_fraction=0))
    sources = {name: (part.source_split, len(part.rows_N)) for name, part in parts.items()}
    assert sources == {
        "train": ("train", 36),
        "validation": ("validation", 10),
        "test": ("train", 4),
    }


def test_labelled_test_is_used_without_its_unlabelled_rows() -> None:
    labels = {"train": shuffled_labels([20, 20]), "test": np.array([-1, 0, 1, -1, 1])}
    test = choose_rows(labels, names(2), config=DataConfig())["test"]
    assert (test.source_split, test.rows_N.tolist()) == ("test", [1, 2, 4])


def test_class_too_small_to_be_divided_stays_whole_in_train() -> None:
    parts = split([9, 1, 2, 30])
    counts = {name: np.bincount(part.labels_N, minlength=4) for name, part in parts.items()}
    assert counts["train"][1:3].tolist() == [1, 2]
    for name in ("validation", "test"):
        assert counts[name][1:3].tolist() == [0, 0] and (counts[name][[0, 3]] > 0).all()
    assert sum(counts.values()).tolist() == [9, 1, 2, 30]


def test_class_too_small_for_two_splits_is_divided_where_one_is_given() -> None:
    labels = {"train": shuffled_labels([9, 2, 1]), "test": np.array([0, 1, 2])}
    parts = choose_rows(labels, names(3), config=DataConfig())
    assert np.bincount(parts["validation"].labels_N, minlength=3).tolist() == [1, 1, 0]


@given(SIZES, st.integers(1, 2))
def test_splits_of_large_classes_do_not_depend_on_one_too_small(
    sizes: list[int], n_small: int
) -> None:
    alone, beside = split(sizes), split([*sizes, n_small])
    labels_N = shuffled_labels([*sizes, n_small])
    for name in ("validation", "test"):
        counts = np.bincount(alone[name].labels_N, minlength=len(sizes) + 1)
        assert (np.bincount(labels_N[beside[name].rows_N], minlength=len(counts)) == counts).all()


def test_class_without_a_labelled_training_example_is_rejected_by_name() -> None:
    labels = {"train": np.array([0] * 9), "test": np.array([0, 1])}
    with pytest.raises(DataError, match=r"class 'class 1' must have a labelled example in train"):
        choose_rows(labels, names(2), config=DataConfig())


def test_train_without_a_class_that_can_be_divided_is_rejected() -> None:
    with pytest.raises(DataError, match=r"test must have .* a class of train with at least 3 "):
        split([2, 2])


def test_given_split_without_an_example_of_the_used_classes_is_rejected() -> None:
    labels = {"train": shuffled_labels([9, 9, 9]), "validation": np.array([2, 2])}
    with pytest.raises(DataError, match=r"validation must have a labelled example .*n_classes"):
        choose_rows(labels, names(2), config=DataConfig())


def test_class_absent_in_a_given_split_is_allowed() -> None:
    labels = {"train": shuffled_labels([20, 20]), "validation": np.array([1, 1])}
    parts = choose_rows(labels, names(2), config=DataConfig(validation_limit=1))
    assert parts["validation"].labels_N.tolist() == [1]


def test_limit_below_the_number_of_classes_is_rejected() -> None:
    with pytest.raises(DataError, match=r"train_limit must be at least 5, .* got 4"):
        split([9] * 5, train_limit=4)
