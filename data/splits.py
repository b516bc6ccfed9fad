"""Which rows of a source are train, validation, confirmation and test.

They are stratified, seeded and disjoint. Confirmation images judge the winner of a search, which
validation images have chosen.

Every class is shuffled by itself, from (seed, source split, class): the division of a class does
not depend on which other classes are used, and a smaller subset lies inside a larger one.
Pure arithmetic on labels; must not open a source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from data.configuration import DataConfig
from data.errors import DataError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
"""What a source may have."""
CONFIRMATION = "confirmation"
LIMITS = {
    TRAIN: "train_limit",
    VALIDATION: "validation_limit",
    CONFIRMATION: "validation_limit",
    TEST: "test_limit",
}
"""The setting that limits each split, in the order in which splits are shown."""

Classes = list[NDArray[np.int64]]
"""Rows of each class, shuffled."""
Part = tuple[str, Classes]
"""What a split gets, and of which split of the source."""


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split: where they come from, which, and their classes (row order)."""

    source_split: str
    rows_N: NDArray[np.int64]
    labels_N: NDArray[np.int64]


def choose_rows(
    labels_by_split: Mapping[str, NDArray[np.int64]],
    class_names: tuple[str, ...],
    *,
    config: DataConfig,
) -> dict[str, SplitRows]:
    """Divides a source's rows into train, validation, confirmation and test.

    Args:
        labels_by_split: class of every row, -1 where unlabelled; `train` is required.
        class_names: names of the classes that are used; higher labels are left out.
        config: fractions, limits and seed.

    A class of train with too few examples for every split that is held out stays whole in train.
    Confirmation images come last: test images are the same without them, so are training images
    where a limit leaves enough, and those of validation that are not among them.

    Returns:
        Rows by split, in the order of `LIMITS`; without confirmation where `confirm_fraction` is
        0, or none and no class has two validation images.

    Raises:
        DataError: a class has no labelled example in train, a split gets none at all, or a limit
            is too small to hold every class.
    """
    held_out = [split for split in (TEST, VALIDATION) if not _is_labelled(labels_by_split, split)]
    parts: dict[str, Part] = {}
    for name in (TRAIN, *(split for split in (VALIDATION, TEST) if split not in held_out)):
        seed = [config.split_seed, crc32(name.encode())]
        parts[name] = name, _shuffled_classes(labels_by_split[name], len(class_names), seed=seed)
    _require_every_class(parts[TRAIN][1], class_names)
    sizes = [len(rows) for rows in parts[TRAIN][1]]
    fractions = {TEST: config.test_fraction, VALIDATION: config.validation_fraction}
    parts |= _hold_out(parts[TRAIN][1], {split: fractions[split] for split in held_out})
    _require_examples(parts, n_parts=1 + len(held_out))
    if config.confirm_fraction is None:
        parts |= _halve(parts[VALIDATION])
    elif config.confirm_fraction > 0:
        parts |= _hold_out_confirmation(parts[TRAIN], sizes, config.confirm_fraction)
    return {
        split: _collect(parts[split][0], _limited(split, parts[split][1], config))
        for split in LIMITS
        if split in parts
    }


def share(sizes_C: NDArray[np.int64], *, total: int) -> NDArray[np.int64]:
    """Shares a total among classes in proportion to their sizes, at least one to each non-empty.

    Largest remainders get what rounding down leaves.

    Args:
        sizes_C: examples of each class.
        total: from the number of non-empty classes to the sum of the sizes.
    """
    shares_C = np.zeros_like(sizes_C)
    is_larger_C = sizes_C > 0
    while True:
        rest = total - int(shares_C.sum())
        proportions_C = is_larger_C * sizes_C * (rest / max(1, int(sizes_C[is_larger_C].sum())))
        is_small_C = is_larger_C & (proportions_C < 1)
        if not is_small_C.any():
            break
        # What the smallest classes get beyond their proportion, the larger ones give.
        shares_C[is_small_C] = 1
        is_larger_C &= ~is_small_C
    shares_C += np.floor(proportions_C + 1e-9).astype(np.int64)
    # Stable, so that equal remainders are served in class order.
    by_remainder = np.argsort(np.floor(proportions_C + 1e-9) - proportions_C, kind="stable")
    shares_C[by_remainder[: total - int(shares_C.sum())]] += 1
    return shares_C


def _is_labelled(labels_by_split: Mapping[str, NDArray[np.int64]], split: str) -> bool:
    return split in labels_by_split and bool((labels_by_split[split] >= 0).any())


def _shuffled_classes(labels_N: NDArray[np.int64], n_classes: int, *, seed: list[int]) -> Classes:
    by_class = np.argsort(labels_N, kind="stable")
    edges = np.searchsorted(labels_N[by_class], np.arange(n_classes + 1))
    return [
        np.random.default_rng([*seed, label]).permutation(
            by_class[edges[label] : edges[label + 1]]
        )
        for label in range(n_classes)
    ]


def _require_every_class(classes: Classes, class_names: tuple[str, ...]) -> None:
    for name, rows in zip(class_names, classes, strict=True):
        if not len(rows):
            raise DataError(
                f"data.source: class '{name}' must have a labelled example in train, it has none; "
                "add some or remove the class"
            )


def _require_examples(parts: Mapping[str, Part], *, n_parts: int) -> None:
    for split, (source_split, classes) in parts.items():
        if any(len(rows) for rows in classes):
            continue
        if split == source_split:
            raise DataError(
                f"data.source: {split} must have a labelled example of the classes that are used, "
                "it has none; add some, remove the split or raise data.n_classes"
            )
        raise DataError(
            f"data.source: {split} must have an example, a class of train with at least {n_parts} "
            "gives one, and there is no such class; add some or provide the missing splits"
        )


def _hold_out(train: Classes, fractions: dict[str, float]) -> dict[str, Part]:
    # Of the classes that are divided; the others stay whole in train.
    sizes_C = np.array([len(rows) if len(rows) > len(fractions) else 0 for rows in train])
    parts = {}
    for n_taken, (split, fraction) in enumerate(fractions.items(), start=1):
        total = max(int(np.count_nonzero(sizes_C)), round(fraction * int(sizes_C.sum())))
        # Every part that comes later keeps at least one example of each class.
        most_C = [len(rows) - (1 + len(fractions) - n_taken) for rows in train]
        counts_C = np.where(sizes_C, np.minimum(share(sizes_C, total=total), most_C), 0)
        parts[split] = TRAIN, [rows[:n] for rows, n in zip(train, counts_C, strict=True)]
        train = [rows[n:] for rows, n in zip(train, counts_C, strict=True)]
    return parts | {TRAIN: (TRAIN, train)}


def _halve(validation: Part) -> dict[str, Part]:
    """Give half of each class to confirmation; what is left over stays in validation."""
    parts = _take_last(VALIDATION, validation, [len(rows) // 2 for rows in validation[1]])
    return parts if any(len(rows) for rows in parts[CONFIRMATION][1]) else {}


def _hold_out_confirmation(train: Part, sizes: list[int], fraction: float) -> dict[str, Part]:
    """Give a part of each class to confirmation; one image of it stays in train.

    Every class is rounded by itself, so that none depends on the sizes of others.
    """
    counts = [
        min(len(rows) - 1, max(1, round(fraction * size)))
        for rows, size in zip(train[1], sizes, strict=True)
    ]
    if not any(counts):
        raise DataError(
            f"data.confirm_fraction must be 0 or none for these images, got {fraction:g}: no "
            "class has a second training image to hold out"
        )
    return _take_last(TRAIN, train, counts)


def _take_last(split: str, part: Part, counts: list[int]) -> dict[str, Part]:
    """Take the last of each class, which limits use last."""
    source_split, classes = part
    stay = [len(rows) - n for rows, n in zip(classes, counts, strict=True)]
    return {
        split: (source_split, [rows[:n] for rows, n in zip(classes, stay, strict=True)]),
        CONFIRMATION: (source_split, [rows[n:] for rows, n in zip(classes, stay, strict=True)]),
    }


def _limited(split: str, classes: Classes, config: DataConfig) -> Classes:
    limit: int | None = getattr(config, LIMITS[split])
    sizes = np.array([len(rows) for rows in classes])
    if limit is None or limit >= sizes.sum():
        return classes
    if limit < np.count_nonzero(sizes):
        raise DataError(
            f"data.{LIMITS[split]} must be at least {np.count_nonzero(sizes)}, one image for each "
            f"class of {split}, got {limit}; raise it or set data.n_classes"
        )
    return [rows[:n] for rows, n in zip(classes, share(sizes, total=limit), strict=True)]


def _collect(source_split: str, classes: Classes) -> SplitRows:
    rows_N = np.concatenate(classes)
    labels_N = np.repeat(np.arange(len(classes)), [len(rows) for rows in classes])
    # Row order: the source is read from front to back.
    order = np.argsort(rows_N)
    return SplitRows(source_split, rows_N[order], labels_N[order])
