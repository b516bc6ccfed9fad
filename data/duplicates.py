"""Pictures that a data set holds more than once: within a split, and across splits (leakage).

Told by the digests of the prepared pictures, so no pair of them is ever compared. Pure arithmetic;
must not open images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_COPIES = 4
"""Of one picture in one split, that are named."""


@dataclass(frozen=True)
class Group:
    """A picture that is there more than once.

    Attributes:
        n_copies: how often.
        copies: split and position there of the first copies in each split.
    """

    n_copies: int
    copies: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class DuplicateCounts:
    """How many pictures are there more than once.

    Attributes:
        within: images of each split that the same split has earlier already.
        across: images of each split that an earlier split has too, by split and earlier split.
        n_groups: different pictures that are there more than once.
        n_contradicting: those of them whose copies are not all of one class.
        groups: the first of them, those that lie in several splits before the others.
    """

    within: dict[str, int]
    across: dict[str, dict[str, int]]
    n_groups: int
    n_contradicting: int
    groups: tuple[Group, ...]


def count_duplicates(
    digests: Mapping[str, NDArray[np.uint64]],
    labels: Mapping[str, NDArray[np.int64]],
    *,
    most_groups: int,
) -> DuplicateCounts:
    """Counts equal digests.

    Args:
        digests: (N,) of the images of each split.
        labels: (N,) their classes, by the same splits.
        most_groups: how many groups are named.
    """
    splits = tuple(digests)
    across = {
        later: {earlier: _count_shared(digests[later], digests[earlier]) for earlier in splits[:n]}
        for n, later in enumerate(splits)
        if n
    }
    all_digests = np.concatenate([digests[split] for split in splits])
    all_labels = np.concatenate([labels[split] for split in splits])
    split_N = np.repeat(np.arange(len(splits)), [len(digests[split]) for split in splits])
    repeated = _repeated(all_digests)
    named = sorted(repeated, key=lambda rows: (len(set(split_N[rows].tolist())) == 1, rows[0]))
    starts = np.searchsorted(split_N, np.arange(len(splits)))

    def group(rows: NDArray[np.intp]) -> Group:
        copies = []
        for n, split in enumerate(splits):
            inside = rows[split_N[rows] == n] - starts[n]
            copies += [(split, int(position)) for position in inside[:MOST_COPIES]]
        return Group(len(rows), tuple(copies))

    return DuplicateCounts(
        within={split: len(digests[split]) - len(np.unique(digests[split])) for split in splits},
        across=across,
        n_groups=len(repeated),
        n_contradicting=sum(len(set(all_labels[rows].tolist())) > 1 for rows in repeated),
        groups=tuple(group(rows) for rows in named[:most_groups]),
    )


def _count_shared(digests_N: NDArray[np.uint64], earlier_digests_N: NDArray[np.uint64]) -> int:
    return int(np.isin(digests_N, earlier_digests_N).sum())


def _repeated(digests_N: NDArray[np.uint64]) -> list[NDArray[np.intp]]:
    """Rows of each digest that is there more than once, ascending."""
    order_N = np.argsort(digests_N, kind="stable")
    edges = np.flatnonzero(np.diff(digests_N[order_N])) + 1
    return [rows for rows in np.split(order_N, edges) if len(rows) > 1]
