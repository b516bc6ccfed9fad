"""How studies come to their best value, drawn together. Must not import torch."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from dashboards.figures.base import draw_legend, empty_figure
from dashboards.figures.palette import INK, LINES

STYLES = ("-", "--", ":", "-.")


def best_so_far_figure(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Draw the best validation macro-F1 so far over worker time, a step line for each study.

    Args:
        curves: Worker seconds and best value after each trial, by study; a study without a
            complete trial has no line.
    """
    figure, axes = empty_figure(6.4, 3.4)
    for index, (name, curve) in enumerate(curves.items()):
        if curve:
            minutes = [seconds / 60 for seconds, _ in curve]
            axes.step(
                minutes,
                [value for _, value in curve],
                where="post",
                color=LINES[index % len(LINES)],
                linestyle=STYLES[index % len(STYLES)],
                marker="." if len(curve) == 1 else None,
                label=name,
            )
    axes.set_xlabel("minutes of worker time", color=INK)
    axes.set_ylabel("best validation macro-F1", color=INK)
    draw_legend(axes, columns=2)
    return figure
