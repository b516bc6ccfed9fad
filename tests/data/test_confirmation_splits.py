"""Confirmation images: apart from all others, stratified, stable, and there only if asked for."""

from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from data.configuration import DataConfig
from data.errors import DataError
from data.splits import SplitRows, choose_rows
from tests.data.test_splits import names, shuffled_labels

Sizes = dict[str, list[int]]
FRACTIONS = st.none() | st.floats(0.01, 0.45)
SIZES = st.lists(st.integers(4, 60), min_size=2, max_size=6)


def split(sizes: Sizes, **settings: Any) -> dict[str, SplitRows]:
    """Divide a source whose own splits have so many images of each class."""
    labels = {name: shuffled_labels(counts, n) for n, (name, counts) in enumerate(sizes.items())}
    return choose_rows(labels, names(len(sizes["train"])), config=DataConfig(**settings))


@st.composite
def sources(draw: st.DrawFn) -> Sizes:
    """Draw splits of a source: train, with or without its own validation and test."""
    train = draw(SIZES)
    own = st.lists(st.integers(0, 20), min_size=len(train), max_size=len(train)).filter(any)
    given_ = draw(st.lists(st.sampled_from(["validation", "test"]), unique=True))
    return {"train": train} | {name: draw(own) for name in given_}


def images(parts: dict[str, SplitRows], *splits: str) -> list[tuple[str, int]]:
    """Return which images of the source some splits have."""
    chosen = [parts[name] for name in splits if name in parts]
    return sorted((one.source_split, int(row)) for one in chosen for row in one.rows_N)


def counts(part: SplitRows | None, n_classes: int) -> list[int]:
    return np.bincount(part.labels_N, minlength=n_classes).tolist() if part else [0] * n_classes


def require_rules(sizes: Sizes, **settings: Any) -> None:
    """Require all that must hold of the splits of a source, whatever the settings."""
    parts, n_classes = split(sizes, **settings), len(sizes["train"])
    every = images(parts, *parts)
    assert len(set(every)) == len(every)
    for n, (source_split, own) in enumerate(sizes.items()):
        labels_N = shuffled_labels(own, n)
        for part in parts.values():
            if part.source_split == source_split:
                assert (labels_N[part.rows_N] == part.labels_N).all()
    without_limits = {key: value for key, value in settings.items() if "limit" not in key}
    whole = split(sizes, **without_limits)
    earlier = split(sizes, **without_limits | {"confirm_fraction": 0})
    fraction = settings.get("confirm_fraction")
    divided = "validation" if fraction is None else "train"
    assert images(whole, divided, "confirmation") == images(earlier, divided)
    for name in {"train", "validation", "test"} - {divided}:
        assert images(whole, name) == images(earlier, name)
    stayed = counts(whole[divided], n_classes)
    taken = counts(whole.get("confirmation"), n_classes)
    for n_taken, n_stayed, n_train in zip(taken, stayed, sizes["train"], strict=True):
        if fraction is None:
            assert n_stayed - n_taken in (0, 1)
        else:
            assert n_stayed >= 1
            assert abs(n_taken - fraction * n_train) <= 1 or (
                n_stayed == 1 and n_taken < fraction * n_train
            )
    for part in parts:
        assert set(images(parts, part)) <= set(images(whole, part))


@given(sources(), FRACTIONS, st.integers(0, 9))
def test_image_sets_are_apart_and_every_class_has_its_share(
    sizes: Sizes, fraction: float | None, seed: int
) -> None:
    require_rules(sizes, confirm_fraction=fraction, split_seed=seed)


@given(sources(), FRACTIONS)
def test_confirmation_images_repeated_are_the_same(sizes: Sizes, fraction: float | None) -> None:
    first, again = (split(sizes, confirm_fraction=fraction) for _ in range(2))
    assert images(first, "confirmation") == images(again, "confirmation")


@pytest.mark.parametrize("fraction", [None, 0.2])
def test_confirmation_images_follow_the_seed(fraction: float | None) -> None:
    sizes = {"train": [50, 50], "validation": [30, 30]}
    first, other = (split(sizes, confirm_fraction=fraction, split_seed=n) for n in (1, 2))
    assert images(first, "confirmation") != images(other, "confirmation")


@given(SIZES, SIZES, FRACTIONS)
def test_confirmation_images_of_a_class_do_not_depend_on_other_classes(
    sizes: list[int], others: list[int], fraction: float | None
) -> None:
    few, many = sizes, [*sizes, *others]
    # The rows of the first classes are the same in both.
    labels_N = np.repeat(np.arange(len(many)), many)
    own = {"train": labels_N, "validation": labels_N, "test": labels_N}
    config = DataConfig(confirm_fraction=fraction)
    alone, beside = (choose_rows(own, names(len(one)), config=config) for one in (few, many))
    part = beside["confirmation"]
    is_shared_N = part.labels_N < len(few)
    assert part.rows_N[is_shared_N].tolist() == alone["confirmation"].rows_N.tolist()


@given(sources(), FRACTIONS, st.integers(6, 80), st.integers(6, 80))
def test_limits_take_from_the_same_confirmation_images_and_leave_the_training_images(
    sizes: Sizes, fraction: float | None, train_limit: int, validation_limit: int
) -> None:
    limits = {"train_limit": train_limit, "validation_limit": validation_limit}
    whole, limited = (split(sizes, confirm_fraction=fraction, **set_) for set_ in ({}, limits))
    assert set(images(limited, "confirmation")) <= set(images(whole, "confirmation"))
    assert len(images(limited, "confirmation")) <= validation_limit
    require_rules(sizes, confirm_fraction=fraction, **limits)
    alone = split(sizes, confirm_fraction=fraction, train_limit=train_limit)
    assert images(alone, "confirmation") == images(whole, "confirmation")


def test_training_images_within_a_limit_are_those_without_confirmation_images() -> None:
    sizes, few = {"train": [100] * 4}, {"train_limit": 200}
    for fraction in (None, 0.2):
        with_, without = (split(sizes, confirm_fraction=one, **few) for one in (fraction, 0))
        assert images(with_, "train") == images(without, "train")


TINY = st.integers(1, 3)


@st.composite
def odd_sources(draw: st.DrawFn) -> tuple[Sizes, dict[str, Any]]:
    """Draw what is too small for its settings, mostly: few images, absent classes, low limits."""
    train = draw(st.lists(TINY | st.just(40), min_size=1, max_size=6))
    few = st.lists(st.integers(0, 2), min_size=len(train), max_size=len(train))
    one_class = st.integers(0, len(train) - 1).map(
        lambda label: [5 * (n == label) for n in range(len(train))]
    )
    sizes = {"train": train}
    for name in ("validation", "test"):
        if draw(st.booleans()):
            sizes[name] = draw(few | one_class)
    limit = st.none() | st.integers(1, 8)
    settings = {f"{name}_limit": draw(limit) for name in ("train", "validation", "test")}
    return sizes, settings | {"confirm_fraction": draw(st.none() | st.floats(0.01, 0.49))}


@given(odd_sources())
def test_odd_data_sets_hold_the_rules_or_are_rejected_in_a_line(
    odd: tuple[Sizes, dict[str, Any]],
) -> None:
    sizes, settings = odd
    try:
        require_rules(sizes, **settings)
    except DataError as error:
        assert str(error).startswith("data.") and "\n" not in str(error)


@pytest.mark.parametrize(
    ("sizes", "settings", "expected"),
    [
        ({"train": [9, 9], "validation": [1, 5]}, {}, [0, 2]),
        ({"train": [9, 9], "validation": [0, 4]}, {}, [0, 2]),
        ({"train": [9, 9], "validation": [8, 8]}, {"validation_limit": 2}, [1, 1]),
        ({"train": [100, 40]}, {}, [5, 2]),
        ({"train": [100, 40]}, {"confirm_fraction": 0.2}, [20, 8]),
        ({"train": [100, 3, 1]}, {"confirm_fraction": 0.2}, [20, 0, 0]),
        ({"train": [9, 2], "validation": [1, 0]}, {"confirm_fraction": 0.1}, [1, 0]),
        (
            {"train": [9, 3], "validation": [1, 1], "test": [1, 1]},
            {"confirm_fraction": 0.1},
            [1, 1],
        ),
    ],
)
def test_confirmation_images_of_each_class(
    sizes: Sizes, settings: dict[str, Any], expected: list[int]
) -> None:
    parts = split(sizes, **settings)
    assert list(parts) == ["train", "validation", "confirmation", "test"]
    assert counts(parts["confirmation"], len(expected)) == expected


@pytest.mark.parametrize("settings", [{"confirm_fraction": 0}, {"confirm_fraction": None}])
def test_single_validation_images_stay_in_validation(settings: dict[str, Any]) -> None:
    parts = split({"train": [9, 9], "validation": [1, 1]}, **settings)
    assert list(parts) == ["train", "validation", "test"]
    assert counts(parts["validation"], 2) == [1, 1]


def test_fraction_of_single_training_images_is_rejected() -> None:
    sizes = {"train": [1, 1], "validation": [4, 4], "test": [4, 4]}
    with pytest.raises(DataError, match=r"confirm_fraction must be 0 or none .*, got 0\.1: no "):
        split(sizes, confirm_fraction=0.1)


def test_limit_below_the_classes_of_the_confirmation_images_is_rejected() -> None:
    with pytest.raises(DataError, match=r"validation_limit must be at least 3, .* confirmation"):
        split(
            {"train": [9, 9, 9], "validation": [4, 0, 0]}, confirm_fraction=0.2, validation_limit=2
        )


def test_fractions_that_leave_no_training_images_are_rejected() -> None:
    with pytest.raises(ValidationError, match=r"confirm_fraction must leave images .* got 1\.2"):
        DataConfig(confirm_fraction=0.4, validation_fraction=0.4, test_fraction=0.4)


def digest(parts: dict[str, SplitRows]) -> str:
    total = sha256()
    for name in ("train", "validation", "test"):
        part = parts[name]
        total.update(part.source_split.encode())
        total.update(part.rows_N.astype("<i8").tobytes() + part.labels_N.astype("<i8").tobytes())
    return total.hexdigest()[:32]


def test_without_confirmation_images_splits_are_those_of_the_version_before() -> None:
    sizes = {"train": [40, 30, 3, 2, 1], "validation": [9, 1, 0, 4, 2]}
    alone = split({"train": sizes["train"]}, confirm_fraction=0)
    limited = split(sizes, confirm_fraction=0, train_limit=20, validation_limit=6)
    assert digest(alone) == "609d5532890cc0ac0e72cfcf9dbf2702"
    assert digest(limited) == "1468b9b0a9bc43c394b712035d55715c"
