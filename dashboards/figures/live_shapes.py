"""Live figures of more than points and curves: parallel coordinates, and who trained when.

Must not import torch.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.colors import Normalize, to_hex

from dashboards.analysis.search_space import Hyperparameter
from dashboards.figures.live import LiveFigure, axes_of, rounded
from dashboards.figures.palette import ASIDE, BEST, SCORE_STOPS, SCORES
from dashboards.figures.search import (
    SCORE_LABEL,
    axis_marks,
    is_lacking,
    line_heights,
    score_columns,
)
from dashboards.figures.timeline import Timeline, colour_of
from storage.trial_rows import TrialRow, best_complete

N_COLOURS = 10
PRUNED = -1


def live_parallel(space: Sequence[Hyperparameter], rows: Sequence[TrialRow]) -> LiveFigure:
    """Return a line for each trial across all hyperparameters, coloured by its value.

    `columns` are the labels and marks of the axes, which lie at 0, 1, ...; the page turns the
    figure where it is narrow.
    """
    columns, shown = score_columns(space, rows)
    best = best_complete(shown)
    norm = Normalize(columns[-1].low, max(columns[-1].high, columns[-1].low + 1e-9))
    groups: dict[tuple[int, str], list[TrialRow]] = {}
    for row in shown:
        step = round(float(norm(row.value or 0.0)) * N_COLOURS)
        key = (step, to_hex(SCORES(step / N_COLOURS)))
        if row is best:
            key = (N_COLOURS + 1, BEST)
        elif row.is_cut_short:
            key = (PRUNED, ASIDE)
        groups.setdefault(key, []).append(row)
    data = [
        _across(columns, some, step, colour) for (step, colour), some in sorted(groups.items())
    ]
    data.append(_colour_scale(columns[-1]))
    marked = [
        {
            "label": html.escape("macro-F1" if one is columns[-1] else one.label),
            "marks": [
                [rounded(height), html.escape(text)]
                for height, text in _marks(one, columns, shown)
            ],
        }
        for one in columns
    ]
    return {"data": data, "layout": {"showlegend": True}, "columns": marked}


def _marks(
    one: Hyperparameter, columns: Sequence[Hyperparameter], rows: Sequence[TrialRow]
) -> list[tuple[float, str]]:
    return axis_marks(one, is_lacking=one is not columns[-1] and is_lacking(one, rows))


def _colour_scale(score: Hyperparameter) -> dict[str, Any]:
    """Return a trace without points, whose only mark is the colour bar."""
    scale = {
        "colorscale": [[i / (len(SCORE_STOPS) - 1), one] for i, one in enumerate(SCORE_STOPS)],
        "cmin": score.low,
        "cmax": score.high,
        "color": [score.low],
        "showscale": True,
        "colorbar": {"title": {"text": SCORE_LABEL}},
    }
    nothing = {"type": "scatter", "mode": "markers", "x": [None], "y": [None]}
    return {**nothing, "marker": scale, "showlegend": False, "hoverinfo": "skip"}


def _across(
    columns: Sequence[Hyperparameter], rows: Sequence[TrialRow], step: int, colour: str
) -> dict[str, Any]:
    x: list[int | None] = []
    y: list[float | None] = []
    trials: list[int | None] = []
    for row in rows:
        x += [*range(len(columns)), None]
        y += [*map(rounded, line_heights(columns, row)), None]
        trials += [*[row.number] * len(columns), None]
    is_best, is_pruned = colour == BEST, step == PRUNED
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"trial {rows[0].number}, the best" if is_best else "pruned or paused",
        "showlegend": is_best or is_pruned,
        "x": x,
        "y": y,
        "customdata": trials,
        "line": {
            "color": colour,
            "width": 3 if is_best else 1.5,
            "dash": "dash" if is_pruned else "solid",
        },
        "opacity": 0.6 if is_pruned else 1,
        "hovertemplate": "%{text}<extra></extra>",
    }


def live_timeline(timeline: Timeline, numbers: Mapping[int, int]) -> LiveFigure:
    """Return a bar for each attempt at a trial, a row for each worker.

    Args:
        timeline: The bars.
        numbers: Number of each trial, by trial id.
    """
    data = []
    for state in dict.fromkeys(bar.state for bar in timeline.bars):
        bars = [bar for bar in timeline.bars if bar.state == state]
        outline = {"color": "ink", "width": 0.4}
        said = f"<br>{state}, %{{x:.3~g}} {timeline.unit} from %{{base:.3~g}}<extra></extra>"
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": state,
                "y": [bar.row for bar in bars],
                "base": [rounded(bar.begin) for bar in bars],
                "x": [rounded(bar.length) for bar in bars],
                "customdata": [numbers[bar.trial_id] for bar in bars],
                "marker": {"color": colour_of(state), "line": outline},
                "hovertemplate": f"%{{text}}{said}",
            }
        )
    rows = {
        "tickvals": list(range(len(timeline.workers))),
        "ticktext": [html.escape(name) for name in timeline.workers],
        "autorange": "reversed",
    }
    layout = axes_of(f"{timeline.unit} since the first trial was claimed", "", y=rows)
    return {"data": data, "layout": {**layout, "barmode": "overlay", "bargap": 0.25}}
