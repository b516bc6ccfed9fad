"""Live figures of a page: what plotly draws where scripts run, with zoom and the trial on hover.

Every one is plain JSON. The trial that a point belongs to is its number in `customdata`; the page
puts the trial's label there. The colour `ink` is that of the page's text. Must not import torch.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dashboards.analysis.sampling import sample
from dashboards.analysis.search_space import Hyperparameter
from dashboards.figures.palette import ASIDE, BEST, MEASURED, STATES
from dashboards.figures.search import SCORE_LABEL, short_choice
from dashboards.formatting import shown_params, shown_value
from storage.trial_rows import PAUSED_STATE, TrialRow, best_complete

LiveFigure = Mapping[str, Any]
SYMBOLS = {
    "complete": "circle",
    "pruned": "x-thin-open",
    "failed": "triangle-down",
    "running": "diamond",
    "paused": "square",
    "waiting": "circle-open",
}
MOST_POINTS = 30_000
MOST_WHOLE_TICKS = 10
MOST_PARAMS = 12
DIGITS = 5


def label_trials(rows: Iterable[TrialRow], figures: Iterable[LiveFigure]) -> dict[int, str]:
    """Return what is shown of each trial that a figure has, by number; texts are escaped."""
    shown = {
        number
        for figure in figures
        for trace in figure["data"]
        for number in trace.get("customdata", ())
    }
    return {row.number: _label(row) for row in rows if row.number in shown}


def _label(row: TrialRow) -> str:
    score = "" if row.value is None else f", {row.value:.4f}"
    lines = [f"<b>trial {row.number}</b>, {row.state}{score}"]
    params = [f"{name} {text}" for name, text in shown_params(row).items()]
    lines += [html.escape(short_line(one), quote=False) for one in params[:MOST_PARAMS]]
    if len(params) > MOST_PARAMS:
        lines.append(f"and {len(params) - MOST_PARAMS} more")
    return "<br>".join(lines)


def short_line(text: str) -> str:
    """Return a line that fits beside a point."""
    return text if len(text) <= 60 else text[:59] + "…"


def sample_curves(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return as many trials as leave a page quick, whatever the length of their curves."""
    longest = max((len(row.curve) for row in rows), default=1)
    most = max(3, MOST_POINTS // max(1, longest))
    return sample(rows, most, lambda row: row.value if row.state == "complete" else None)


def live_curves(rows: Sequence[TrialRow]) -> LiveFigure:
    """Return validation macro-F1 over epochs, a line for each trial."""
    best = best_complete(rows)
    kinds: dict[str, list[TrialRow]] = {
        "pruned": [],
        PAUSED_STATE: [],
        "other trials": [],
        "best": [],
    }
    for row in rows:
        kind = "best" if row is best else row.state if row.is_cut_short else "other trials"
        kinds[kind].append(row)
    styles = {
        "pruned": {"color": ASIDE, "width": 1.2, "dash": "dash"},
        PAUSED_STATE: {"color": STATES[PAUSED_STATE], "width": 1.2, "dash": "dot"},
        "other trials": {"color": MEASURED, "width": 1.3},
        "best": {"color": BEST, "width": 2.6},
    }
    data = []
    for kind, some in kinds.items():
        if some:
            name = f"trial {some[0].number}, the best" if kind == "best" else kind
            data.append(_lines(name, some, styles[kind]))
    return {"data": data, "layout": axes_of("epoch", "validation macro-F1")}


def _lines(name: str, rows: Sequence[TrialRow], style: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves of trials as one line with gaps: quicker than a line for each."""
    x: list[int | None] = []
    y: list[float | None] = []
    trials: list[int | None] = []
    for row in rows:
        x += [*range(1, len(row.curve) + 1), None]
        y += [*map(rounded, row.curve), None]
        trials += [*[row.number] * len(row.curve), None]
    # A point is shown where it has no neighbour.
    alone = all(len(row.curve) == 1 for row in rows)
    return {
        "type": "scatter",
        "mode": "markers" if alone else "lines",
        "name": name,
        "x": x,
        "y": y,
        "customdata": trials,
        "line": style,
        "marker": {"color": style["color"]},
        "hovertemplate": "%{text}<br>epoch %{x}: %{y:.4f}<extra></extra>",
    }


def live_history(rows: Sequence[TrialRow], drawn: Sequence[TrialRow]) -> LiveFigure:
    """Return the value of drawn trials over their number, with the best of all rows so far."""
    data = _points_by_state([(row, float(row.number)) for row in drawn], size=8)
    highest, x, y = -math.inf, [], []
    for row in rows:
        if row.state == "complete" and row.value is not None and row.value > highest:
            highest = row.value
            x.append(row.number)
            y.append(rounded(highest))
    if x:
        x.append(rows[-1].number)
        y.append(y[-1])
        line = {"color": BEST, "width": 2, "shape": "hv"}
        step = {"type": "scatter", "mode": "lines", "name": "best so far", "x": x, "y": y}
        data.insert(0, {**step, "line": line, "hoverinfo": "skip"})
    return {"data": data, "layout": axes_of("trial", SCORE_LABEL)}


def live_slice(parameter: Hyperparameter, rows: Sequence[TrialRow]) -> LiveFigure:
    """Return the value of each trial over one hyperparameter; the best complete has a ring."""
    shown = [row for row in rows if row.value is not None and parameter.name in row.params]
    points = [(row, parameter.position(row.params[parameter.name])) for row in shown]
    data = _points_by_state(points, size=7)
    best = best_complete(rows)
    if best is not None and parameter.name in best.params:
        ring = {"size": 13, "symbol": "circle-open", "color": BEST, "line": {"width": 2}}
        x = parameter.position(best.params[parameter.name])
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "best",
                "x": [x],
                "y": [rounded(best.value or 0.0)],
                "marker": ring,
                "hoverinfo": "skip",
            }
        )
    axis: dict[str, Any] = {"type": "log" if parameter.is_log else "linear"}
    if parameter.is_log:
        axis |= {"exponentformat": "power", "dtick": 1}
        if _is_narrow(points):
            axis |= _few_ticks([x for _, x in points if x > 0])
    elif parameter.is_integer and parameter.high - parameter.low <= MOST_WHOLE_TICKS:
        axis |= {"dtick": 1}
    if parameter.choices:
        axis |= {
            "tickvals": list(range(len(parameter.choices))),
            "ticktext": [html.escape(short_choice(text)) for text in parameter.choices],
        }
    return {"data": data, "layout": axes_of(html.escape(parameter.label), "macro-F1", x=axis)}


def _is_narrow(points: Sequence[tuple[TrialRow, float]]) -> bool:
    values = [x for _, x in points if x > 0]
    return not values or max(values) / min(values) < 100


def _few_ticks(values: Sequence[float]) -> dict[str, Any]:
    """Return ticks at 1, 2 and 5 times powers of ten, each with its whole number."""
    if not values:
        return {}
    low, high = math.log10(min(values)), math.log10(max(values))
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return {"tickvals": ticks, "ticktext": [shown_value(tick) for tick in ticks]}


def _points_by_state(
    points: Sequence[tuple[TrialRow, float]], *, size: int
) -> list[dict[str, Any]]:
    data = []
    for state, colour in STATES.items():
        some = [(row, x) for row, x in points if row.state == state]
        if some:
            outline = {"width": 2 if state == "pruned" else 0, "color": colour}
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": state,
                    "x": [rounded(x) for _, x in some],
                    "y": [rounded(row.value or 0.0) for row, _ in some],
                    "customdata": [row.number for row, _ in some],
                    "marker": {
                        "symbol": SYMBOLS[state],
                        "color": colour,
                        "size": size,
                        "line": outline,
                    },
                    "hovertemplate": "%{text}<extra></extra>",
                }
            )
    return data


def axes_of(
    x_label: str,
    y_label: str,
    *,
    x: Mapping[str, Any] | None = None,
    y: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the layout of two axes with their labels."""
    return {
        "xaxis": {**(x or {}), "title": {"text": x_label}},
        "yaxis": {**(y or {}), "title": {"text": y_label}},
    }


def rounded(value: float) -> float:
    """Return a number whose text is short."""
    return float(f"{value:.{DIGITS}g}")
