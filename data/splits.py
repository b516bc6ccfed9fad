"""Which rows of a source are train, validation and test (protocol: stratified, seeded, disjoint).

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
    """Divides a source's rows into train, validation and test.

    Args:
        labels_by_split: class of every row, -1 where unlabelled; `train` is required.
        class_names: names of the classes that are used; higher labels are left out.
        config: fractions, limits and seed.

    A class of train with too few examples for every split that is held out stays whole in train.

    Raises:
        DataError: a class has no labelled example in train, a split gets none at all, or a limit
            is too small to hold every class.
    """
    held_out = [split for split in (TEST, VALIDATION) if not _is_labelled(labels_by_split, split)]
    parts: dict[str, tuple[str, list[NDArray[np.int64]]]] = {}
    for name in (TRAIN, *(split for split in (VALIDATION, TEST) if split not in held_out)):
        seed = [config.split_seed, crc32(name.encode())]
        parts[name] = name, _shuffled_classes(labels_by_split[name], len(class_names), seed=seed)
    _require_every_class(parts[TRAIN][1], class_names)
    fractions = {TEST: config.test_fraction, VALIDATION: config.validation_fraction}
    parts |= _hold_out(parts[TRAIN][1], {split: fractions[split] for split in held_out})
    _require_examples(parts, n_parts=1 + len(held_out))
    limits = (config.train_limit, config.validation_limit, config.test_limit)
    return {
        split: _collect(parts[split][0], _limited(parts[split][1], f"data.{split}_limit", limit))
        for split, limit in zip(SPLITS, limits, strict=True)
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


def _shuffled_classes(
    labels_N: NDArray[np.int64], n_classes: int, *, seed: list[int]
) -> list[NDArray[np.int64]]:
    by_class = np.argsort(labels_N, kind="stable")
    edges = np.searchsorted(labels_N[by_class], np.arange(n_classes + 1))
    return [
        np.random.default_rng([*seed, label]).permutation(
            by_class[edges[label] : edges[label + 1]]
        )
        for label in range(n_classes)
    ]


def _require_every_class(classes: list[NDArray[np.int64]], class_names: tuple[str, ...]) -> None:
    for name, rows in zip(class_names, classes, strict=True):
        if not len(rows):
            raise DataError(
                f"data.source: class '{name}' must have a labelled example in train, it has none; "
                "add some or remove the class"
            )


def _require_examples(
    parts: Mapping[str, tuple[str, list[NDArray[np.int64]]]], *, n_parts: int
) -> None:
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


def _hold_out(
    train: list[NDArray[np.int64]], fractions: dict[str, float]
) -> dict[str, tuple[str, list[NDArray[np.int64]]]]:
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


def _limited(
    classes: list[NDArray[np.int64]], setting: str, limit: int | None
) -> list[NDArray[np.int64]]:
    sizes = np.array([len(rows) for rows in classes])
    if limit is None or limit >= sizes.sum():
        return classes
    if limit < np.count_nonzero(sizes):
        raise DataError(
            f"{setting} must be at least {np.count_nonzero(sizes)}, one image for each class, got "
            f"{limit}; raise it or set data.n_classes"
        )
    return [rows[:n] for rows, n in zip(classes, share(sizes, total=limit), strict=True)]


def _collect(source_split: str, classes: list[NDArray[np.int64]]) -> SplitRows:
    rows_N = np.concatenate(classes)
    labels_N = np.repeat(np.arange(len(classes)), [len(rows) for rows in classes])
    # Row order: the source is read from front to back.
    order = np.argsort(rows_N)
    return SplitRows(source_split, rows_N[order], labels_N[order])
