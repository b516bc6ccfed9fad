"""The confusion matrix: stored as CSV, and which classes a network takes for which.

Must not import torch.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from dashboards.errors import DashboardError
from storage.atomic_files import write_atomically
from storage.group_rights import make_folders

CORNER = "true class"


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were taken for another.

    Attributes:
        true_class: Name of their class.
        predicted_class: Name of the class they were taken for.
        count: How many they are.
        support: How many images their class has.
    """

    true_class: str
    predicted_class: str
    count: int
    support: int


def most_confused(
    confusion_CC: NDArray[np.int64], class_names: Sequence[str], *, most: int
) -> list[ConfusedPair]:
    """Return the pairs of classes with the most mistakes, ties in the order of the matrix.

    Args:
        confusion_CC: Counts, square, rows are true classes.
        class_names: One for each row.
        most: How many pairs, or all that there are.
    """
    wrong_CC = confusion_CC * ~np.eye(len(confusion_CC), dtype=bool)
    cells = np.argsort(-wrong_CC, axis=None, kind="stable")[:most]
    supports_C = confusion_CC.sum(axis=1)
    return [
        ConfusedPair(
            class_names[true],
            class_names[predicted],
            int(wrong_CC[true, predicted]),
            int(supports_C[true]),
        )
        for true, predicted in np.transpose(np.unravel_index(cells, wrong_CC.shape))
        if wrong_CC[true, predicted]
    ]


def neighbour_order(confusion_CC: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the classes so that those often confused lie side by side.

    They are joined pair by pair and group by group, the most alike first (average linkage), and
    come in the order of the tree's leaves.

    Args:
        confusion_CC: Counts, square, rows are true classes.
    """
    shares_CC = confusion_CC / np.maximum(confusion_CC.sum(axis=1, keepdims=True), 1)
    likeness_CC = shares_CC + shares_CC.T
    np.fill_diagonal(likeness_CC, 0)
    distances_CC = likeness_CC.max() - likeness_CC
    np.fill_diagonal(distances_CC, 0)
    tree = linkage(squareform(distances_CC), "average")
    return np.asarray(leaves_list(tree), dtype=np.int64)


def save_confusion_csv(
    path: Path, confusion: NDArray[np.int64], class_names: Sequence[str]
) -> None:
    """Write counts under a line of class names, each line led by its true class."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([CORNER, *class_names])
    for name, counts in zip(class_names, confusion.tolist(), strict=True):
        writer.writerow([name, *counts])
    make_folders(path.parent)
    write_atomically(path, text.getvalue().encode())


def load_confusion_csv(path: Path) -> tuple[NDArray[np.int64], list[str]]:
    """Return counts and class names that `save_confusion_csv` wrote.

    Raises:
        DashboardError: If the file is not of this kind, or counts no image.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            (_, *names), *lines = csv.reader(file)
        counts = [[int(count) for count in line[1:]] for line in lines]
        confusion = np.array(counts, dtype=np.int64)
        named_alike = names == [line[0] for line in lines]
    except (ValueError, IndexError, OverflowError, OSError, csv.Error):
        named_alike = False
    if not (
        named_alike
        and confusion.shape == (len(lines), len(lines))
        and confusion.min() >= 0
        and confusion.any()
    ):
        raise DashboardError(
            f"confusion matrix must be a square table of counts by class, {path} is not: "
            "restore it, or remove it to leave it out"
        )
    return confusion, names
