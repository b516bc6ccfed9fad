"""The confusion matrix as a figure, for two classes as for a thousand. Must not import torch."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from dashboards.figures.base import (
    MOST_NAMED_CLASSES,
    add_colour_bar,
    empty_figure,
    numbering,
    shorten,
)
from dashboards.figures.palette import BLUES, INK

MOST_COUNTED_CLASSES = 16
MANY_CLASSES_POWER = 1 / 4
SHARES = (0, 0.01, 0.05, 0.2, 0.5, 1)
MOST_CLASS_TICKS = 12
CLASS_STEPS = (2, 5, 10, 20, 50, 100, 1000, 10_000)


def confusion_matrix_figure(
    confusion: np.ndarray, class_names: Sequence[str], *, order: np.ndarray | None = None
) -> Figure:
    """Draw a confusion matrix, each row as shares of its true class.

    Beyond 32 classes the axes show class numbers instead of names, and the colours rise steeply
    at first, so that a single mistake can still be seen.

    Args:
        confusion: Counts, square, rows are true classes.
        class_names: One for each row.
        order: The classes in the order of the rows and columns; default that of the matrix.
    """
    n_classes = len(class_names)
    order = np.arange(n_classes) if order is None else order
    counts = confusion[np.ix_(order, order)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    is_named = n_classes <= MOST_NAMED_CLASSES
    side = 6.4 if MOST_COUNTED_CLASSES < n_classes <= MOST_NAMED_CLASSES else 4.6
    figure, axes = empty_figure(side + 0.5, side)
    norm = Normalize(0, 1) if is_named else PowerNorm(MANY_CLASSES_POWER, 0, 1)
    image = axes.imshow(shares, cmap=BLUES, norm=norm, interpolation="nearest")
    add_colour_bar(figure, image, axes, "share of the true class")
    axes.grid(False)
    axes.set_xlabel("predicted class" + numbering(n_classes), color=INK)
    axes.set_ylabel("true class" + numbering(n_classes), color=INK)
    if is_named:
        _name_classes(axes, [class_names[int(label)] for label in order])
    else:
        if image.colorbar is not None:
            image.colorbar.set_ticks(list(SHARES), labels=[f"{share:.0%}" for share in SHARES])
        _number_classes(axes, order)
    if n_classes <= MOST_COUNTED_CLASSES:
        _write_counts(axes, counts, shares)
    return figure


def _name_classes(axes: Axes, class_names: Sequence[str]) -> None:
    size = 7 if len(class_names) <= MOST_COUNTED_CLASSES else 6
    short = [shorten(name) for name in class_names]
    # Class names are data: a dollar sign in them starts no formula.
    axes.set_xticks(range(len(short)), short, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(range(len(short)), short, fontsize=size, parse_math=False)


def _number_classes(axes: Axes, order: np.ndarray) -> None:
    """Write every twentieth class number or so, with faint lines to find the cells by."""
    step = next(step for step in CLASS_STEPS if len(order) <= MOST_CLASS_TICKS * step)
    places = np.arange(0, len(order), step)
    labels = [str(order[place]) for place in places]
    axes.set_xticks(places, labels, rotation=90)
    axes.set_yticks(places, labels)
    axes.grid(color=INK, alpha=0.15, linewidth=0.5)
    axes.set_axisbelow(False)


def _write_counts(axes: Axes, confusion: np.ndarray, shares: np.ndarray) -> None:
    for row, column in np.argwhere(confusion > 0):
        colour = "white" if shares[row, column] > 0.7 else INK
        count = str(confusion[row, column])
        axes.text(column, row, count, color=colour, ha="center", va="center", fontsize=7)
