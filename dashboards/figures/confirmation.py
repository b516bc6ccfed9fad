"""The scores of a confirmation, one point for each fresh seed. Must not import torch."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dashboards.figures.base import draw_legend, empty_figure
from dashboards.figures.palette import ASIDE, BEST, INK, MEASURED

INCHES_PER_ROW = 0.34


@dataclass(frozen=True)
class Strip:
    """A row of the figure: one setting on the images of one stage.

    Attributes:
        label: The setting.
        scores: Of each fresh seed.
        search_score: What the search measured for it, beside them; None where that says nothing.
        is_best: Whether the setting is the recommended one.
    """

    label: str
    scores: Sequence[float]
    search_score: float | None
    is_best: bool


def strip_figure(stages: Sequence[tuple[str, Sequence[Strip]]]) -> Figure:
    """Draw the score of every fresh seed, a row for each setting of each stage.

    Args:
        stages: The images that judge, and the settings; a stage without settings is left out.
    """
    shown = [(name, strips) for name, strips in stages if strips]
    n_rows = sum(1 + len(strips) for _, strips in shown)
    figure, axes = empty_figure(4.4, 1.1 + INCHES_PER_ROW * n_rows)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.grid(visible=False, axis="y")
    places, labels = [], []
    row = 0
    for name, strips in shown:
        axes.annotate(
            name,
            (0, row),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
            fontweight="bold",
        )
        for strip in strips:
            row += 1
            places.append(row)
            labels.append(strip.label)
            _draw(axes, strip, row)
        row += 1
    axes.set_yticks(places, labels, parse_math=False)
    axes.set_ylim(n_rows - 0.5, -0.6)
    axes.margins(x=0.06)
    axes.set_xlabel("macro-F1", color=INK)
    draw_legend(axes, columns=2)
    return figure


def _draw(axes: Axes, strip: Strip, row: int) -> None:
    if strip.scores:
        mean = statistics.fmean(strip.scores)
        axes.vlines([mean], row - 0.28, row + 0.28, color=INK, linewidth=1.6, label="mean")
        axes.scatter(
            strip.scores,
            [row] * len(strip.scores),
            s=30,
            c=BEST if strip.is_best else MEASURED,
            alpha=0.8,
            linewidths=0,
            label="fresh seed, recommended" if strip.is_best else "fresh seed",
            zorder=3,
        )
    if strip.search_score is not None:
        axes.scatter(
            [strip.search_score],
            [row],
            marker="D",
            s=30,
            facecolors="none",
            edgecolors=ASIDE,
            linewidths=1.4,
            label="score in the search",
            zorder=4,
        )
