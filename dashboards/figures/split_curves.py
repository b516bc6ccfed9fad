"""A metric of one run on training and validation images. Must not import torch."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from dashboards.figures.base import draw_legend, empty_figure
from dashboards.figures.palette import ASIDE, INK, MEASURED

FEWEST_EPOCHS = 5


def split_curves_figure(
    train: Sequence[float],
    validation: Sequence[float],
    *,
    metric: str = "macro-F1",
    top: float | None = None,
) -> Figure:
    """Draw a metric of one run over epochs, on training (augmented) and validation images.

    Args:
        train: After each epoch.
        validation: Likewise.
        metric: Its name.
        top: Upper end of the axis; None: all is shown.
    """
    figure, axes = empty_figure(4.4, 2.9)
    for label, scores, colour, style in (
        ("training", train, ASIDE, "--"),
        ("validation", validation, MEASURED, "-"),
    ):
        axes.plot(
            range(1, len(scores) + 1),
            scores,
            color=colour,
            linestyle=style,
            linewidth=1.8,
            marker="." if len(scores) == 1 else None,
            label=label,
        )
    if len(train) == 1:
        axes.set_xticks([1])
    if top is not None:
        known = [value for value in (*train, *validation) if math.isfinite(value)]
        axes.set_ylim(min(known) - 0.05 * (top - min(known)), top)
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel(metric, color=INK)
    draw_legend(axes)
    return figure


def clear_top(*curves: Sequence[float]) -> float | None:
    """Return where an axis of losses ends, so that outliers do not flatten the rest.

    None where all values can be shown.
    An outlier is one of the highest 5 % of a curve, at least one value, and lies more than twice
    as far above the lowest value as all others do.
    """
    whole = [sorted(value for value in curve if math.isfinite(value)) for curve in curves]
    known = [value for values in whole for value in values]
    if not known or min(map(len, curves)) < FEWEST_EPOCHS:
        return None
    kept = [values[: len(values) - max(1, len(values) // 20)] for values in whole]
    low, high = min(known), max(value for values in kept for value in values)
    limit = low + 2 * (high - low)
    if max(known) <= limit and len(known) == sum(map(len, curves)):
        return None
    high = max(value for value in known if value <= limit)
    return high + 0.05 * (high - low)
