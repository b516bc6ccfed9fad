"""The confusion matrix as a table of text: rows are true classes, columns predicted ones."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dashboards.errors import DashboardError
from storage.run_paths import write_atomically

CORNER = "true class"


def save_confusion_csv(path: Path, confusion: np.ndarray, class_names: Sequence[str]) -> None:
    """Write counts under a line of class names, each line led by its true class."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([CORNER, *class_names])
    for name, counts in zip(class_names, confusion.tolist(), strict=True):
        writer.writerow([name, *counts])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue().encode())


def load_confusion_csv(path: Path) -> tuple[np.ndarray, list[str]]:
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
