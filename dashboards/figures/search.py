"""Figures of a search: importances, values over hyperparameters, pairs, parallel coordinates.

Nothing is interpolated: every mark is a trial. Must not import torch.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from dashboards.analysis.search_space import Hyperparameter
from dashboards.figures.base import (
    add_colour_bar,
    draw_legend,
    empty_figure,
    rasterise_many,
    scatter_by_state,
)
from dashboards.figures.palette import ASIDE, BEST, INK, MEASURED, SCORES
from dashboards.formatting import setting_name, shown_value
from storage.trial_rows import TrialRow, best_complete

SCORE_LABEL = "best validation macro-F1"
LONGEST_CHOICE = 14
MOST_NAMED_CHOICES = 12
NOT_DRAWN = 1.14
"""Height, above an axis of height 1, of a trial that has no such hyperparameter."""


def importance_figure(shares: Mapping[str, float]) -> Figure:
    """Draw the importance of each hyperparameter as a bar, the greatest on top."""
    figure, axes = empty_figure(4.4, max(1.6, 0.32 * len(shares) + 0.8))
    names = list(shares)[::-1]
    bars = axes.barh(
        range(len(names)), [shares[name] for name in names], color=MEASURED, height=0.7
    )
    texts = [f"{100 * shares[name]:.0f} %" for name in names]
    axes.bar_label(bars, texts, padding=3, color=INK, fontsize=8)
    axes.set_yticks(range(len(names)), [setting_name(name) for name in names], parse_math=False)
    axes.set_xlim(0, 1.15 * max(shares.values()))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(False, axis="y")
    axes.set_xlabel("share of the importance", color=INK)
    return figure


def slice_figure(parameter: Hyperparameter, rows: Sequence[TrialRow]) -> Figure:
    """Draw the value of each trial over one hyperparameter; the best complete one has a ring."""
    figure, axes = empty_figure(3.4, 2.6)
    shown = [row for row in rows if row.value is not None and parameter.name in row.params]
    points = [(row, parameter.position(row.params[parameter.name])) for row in shown]
    scatter_by_state(axes, points, size=20)
    best = best_complete(rows)
    if best is not None and parameter.name in best.params:
        x, y = parameter.position(best.params[parameter.name]), best.value or 0.0
        axes.scatter([x], [y], s=70, facecolors="none", edgecolors=BEST, linewidths=1.6, zorder=4)
    _scale(axes, "x", parameter)
    axes.set_ylabel("macro-F1", color=INK)
    draw_legend(axes)
    return figure


def pair_figure(x: Hyperparameter, y: Hyperparameter, rows: Sequence[TrialRow]) -> Figure:
    """Draw each trial over two hyperparameters; colour and size tell its value."""
    figure, axes = empty_figure(4.0, 3.1)
    shown = sorted(_with_all(rows, (x, y)), key=lambda row: row.value or 0.0)
    scores = Normalize(*_limits(shown))
    for marker, pruned in (("o", False), ("X", True)):
        some = [row for row in shown if row.is_cut_short == pruned]
        values = np.array([row.value for row in some], dtype=float)
        points = axes.scatter(
            [x.position(row.params[x.name]) for row in some],
            [y.position(row.params[y.name]) for row in some],
            c=values,
            s=18 + 50 * np.asarray(scores(values)),
            marker=marker,
            cmap=SCORES,
            norm=scores,
            linewidths=0,
            zorder=2 if pruned else 3,
        )
        rasterise_many(points, len(some))
        if not pruned:
            add_colour_bar(figure, points, axes, SCORE_LABEL)
    _ring_best(axes, rows, x, y)
    _scale(axes, "x", x)
    _scale(axes, "y", y)
    return figure


def _ring_best(axes: Axes, rows: Sequence[TrialRow], x: Hyperparameter, y: Hyperparameter) -> None:
    best = best_complete(rows)
    if best is not None and {x.name, y.name} <= best.params.keys():
        place = x.position(best.params[x.name]), y.position(best.params[y.name])
        axes.plot(*place, "o", markersize=11, color=BEST, fillstyle="none", zorder=4)


def parallel_figure(space: Sequence[Hyperparameter], rows: Sequence[TrialRow]) -> Figure:
    """Draw each trial as a line across all hyperparameters, which ends at its value.

    Complete trials are coloured by value, the best is thick; pruned and paused ones are grey and
    dashed.
    """
    figure, axes = empty_figure(max(4.6, 1.15 * (len(space) + 1) + 1.4), 3.4)
    columns, shown = score_columns(space, rows)
    for pruned in (True, False):
        some = [row for row in shown if row.is_cut_short == pruned]
        if some:
            lines = _lines(columns, some, pruned=pruned)
            axes.add_collection(lines)
            rasterise_many(lines, len(some) * len(columns))
            if not pruned:
                add_colour_bar(figure, lines, axes, SCORE_LABEL)
    if (best := best_complete(shown)) is not None:
        heights = line_heights(columns, best)
        axes.plot(heights, color=BEST, linewidth=2.4, label=f"trial {best.number}, the best")
        draw_legend(axes)
    _draw_columns(axes, columns, shown)
    return figure


def _lines(
    columns: Sequence[Hyperparameter], rows: Sequence[TrialRow], *, pruned: bool
) -> LineCollection:
    """Return a line for each row; the last column is its value."""
    heights = [line_heights(columns, row) for row in rows]
    lines = LineCollection(
        [np.column_stack([np.arange(len(columns)), of_row]) for of_row in heights],
        linewidths=0.9 if pruned else 1.3,
        linestyles="--" if pruned else "-",
        alpha=0.5 if pruned else 0.85,
        zorder=2 if pruned else 3,
    )
    if pruned:
        lines.set_color(ASIDE)
    else:
        scores = np.array([row.value for row in rows], dtype=float)
        lines.set(array=scores, cmap=SCORES, norm=Normalize(columns[-1].low, columns[-1].high))
    return lines


def line_heights(columns: Sequence[Hyperparameter], row: TrialRow) -> list[float]:
    """Return where a trial's line crosses each axis, in [0, 1]; the last axis is its value.

    Where a condition kept the trial from drawing a hyperparameter, it passes above the axis.
    """
    return [
        *(
            _height(one, one.position(row.params[one.name]))
            if one.name in row.params
            else NOT_DRAWN
            for one in columns[:-1]
        ),
        _height(columns[-1], row.value or 0.0),
    ]


def score_columns(
    space: Sequence[Hyperparameter], rows: Sequence[TrialRow]
) -> tuple[list[Hyperparameter], list[TrialRow]]:
    """Return the axes of parallel coordinates, the score last, and the trials they show."""
    known = [row for row in finished_rows(rows) if any(one.name in row.params for one in space)]
    shown = sorted(known, key=lambda row: row.value or 0.0)
    return [*space, Hyperparameter("score", *_limits(shown))], shown


def _draw_columns(axes: Axes, columns: Sequence[Hyperparameter], rows: Sequence[TrialRow]) -> None:
    axes.set_xlim(-0.4, len(columns) - 0.6)
    lacking = any(is_lacking(one, rows) for one in columns[:-1])
    axes.set_ylim(-0.1, 0.1 + (NOT_DRAWN if lacking else 1.0))
    axes.grid(False)
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    labels = [one.label.replace(" ", "\n") for one in columns[:-1]] + ["validation\nmacro-F1"]
    axes.set_xticks(range(len(columns)), labels, parse_math=False)
    axes.tick_params(axis="x", length=0)
    axes.vlines(range(len(columns)), 0, 1, color=INK, alpha=0.5, linewidth=0.8)
    for index, one in enumerate(columns):
        lacks = one is not columns[-1] and is_lacking(one, rows)
        for height, text in axis_marks(one, is_lacking=lacks):
            is_end = height in (0.0, 1.0, NOT_DRAWN)
            axes.annotate(
                text,
                (index, height),
                xytext=(0 if is_end else 3, {0.0: -3, 1.0: 3, NOT_DRAWN: 3}.get(height, 0)),
                textcoords="offset points",
                ha="center" if is_end else "left",
                va={0.0: "top", 1.0: "bottom", NOT_DRAWN: "bottom"}.get(height, "center"),
                color=INK,
                fontsize=7.5,
                parse_math=False,
            )


def is_lacking(one: Hyperparameter, rows: Sequence[TrialRow]) -> bool:
    """Return whether some trials have no such hyperparameter, for a condition did not hold."""
    return any(one.name not in row.params for row in rows)


def axis_marks(one: Hyperparameter, *, is_lacking: bool = False) -> list[tuple[float, str]]:
    """Return heights and texts along an axis: its ends, or every choice.

    Args:
        one: What the axis shows.
        is_lacking: Whether trials without it pass above.
    """
    above = [(NOT_DRAWN, "not drawn")] if is_lacking else []
    if not one.choices:
        return [(0.0, shown_value(one.low)), (1.0, shown_value(one.high)), *above]
    step = 1 + (len(one.choices) - 1) // MOST_NAMED_CHOICES
    shown = range(0, len(one.choices), step)
    marks = [(_height(one, index), short_choice(one.choices[index])) for index in shown]
    return [*marks, *above]


def _height(one: Hyperparameter, position: float) -> float:
    """Return where a position lies on an axis of height 1."""
    low, high = (0.0, len(one.choices) - 1.0) if one.choices else (one.low, one.high)
    if one.is_log:
        position, low, high = math.log(position), math.log(low), math.log(high)
    return (position - low) / (high - low) if high > low else 0.0


def _scale(axes: Axes, side: str, parameter: Hyperparameter) -> None:
    """Give an axis the label, the scale and the ticks of a hyperparameter."""
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_label_text(parameter.label, color=INK, parse_math=False)
    if parameter.choices:
        n_choices = len(parameter.choices)
        shown = range(0, n_choices, 1 + (n_choices - 1) // MOST_NAMED_CHOICES)
        axis.set_ticks(
            list(shown),
            [short_choice(parameter.choices[index]) for index in shown],
            parse_math=False,
        )
        if side == "x":
            axes.tick_params(axis="x", labelrotation=45 if n_choices > 4 else 0)
    elif parameter.is_log:
        axes.set(**{f"{side}scale": "log"})
        low, high = axes.get_xlim() if side == "x" else axes.get_ylim()
        decades = math.log10(high / low)
        subs = (1, 3) if decades < 3 else (1,)
        # Less than a decade is seen as a linear axis would be.
        axis.set_major_locator(
            MaxNLocator(2) if decades < 1 else LogLocator(subs=subs, numticks=4)
        )
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=parameter.is_integer))


def _with_all(rows: Sequence[TrialRow], space: Sequence[Hyperparameter]) -> list[TrialRow]:
    """Return the complete, pruned and paused trials that have a value and every hyperparameter."""
    return [row for row in finished_rows(rows) if all(one.name in row.params for one in space)]


def finished_rows(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the complete, pruned and paused trials that have a value."""
    return [
        row
        for row in rows
        if (row.state == "complete" or row.is_cut_short) and row.value is not None
    ]


def _limits(rows: Sequence[TrialRow]) -> tuple[float, float]:
    """Return the lowest and the highest value."""
    values = [row.value for row in rows if row.value is not None]
    return min(values), max(values)


def short_choice(text: str) -> str:
    """Return a choice that fits beside others."""
    return text if len(text) <= LONGEST_CHOICE else text[: LONGEST_CHOICE - 1] + "…"
