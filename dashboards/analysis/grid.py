"""Scores over the two axes of a grid. Must not import torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dashboards.analysis.comparison import Variant


@dataclass(frozen=True)
class Grid:
    """Points over two settings.

    Attributes:
        x_key: Dotted key of the horizontal axis.
        y_key: Of the vertical one.
        x_values: In order.
        y_values: In order.
        scores_YX: Mean best validation macro-F1, shape (y, x); nan while no run is complete.
        states_YX: How a run without a score ended, by the same position; empty texts else.
    """

    x_key: str
    y_key: str
    x_values: Sequence[Any]
    y_values: Sequence[Any]
    scores_YX: np.ndarray  # noqa: N815 - shape letters
    states_YX: Sequence[Sequence[str]]  # noqa: N815


def read_grid(variants: Sequence[Variant]) -> Grid | None:
    """Return the grid that points make, None where they are none of two axes."""
    values = {
        key: _in_order([variant.settings.get(key) for variant in variants])
        for key in (variants[0].settings if variants else ())
    }
    axes = [key for key, found in values.items() if len(found) > 1]
    if len(axes) != 2 or len(values[axes[0]]) * len(values[axes[1]]) != len(variants):
        return None
    x_key, y_key = sorted(axes, key=lambda key: -len(values[key]))
    at = {(one.settings[y_key], one.settings[x_key]): one for one in variants}
    cells = [[at[y, x] for x in values[x_key]] for y in values[y_key]]
    scores = [[np.nan if one.mean is None else one.mean for one in row] for row in cells]
    states = [["" if one.scores else _state(one) for one in row] for row in cells]
    return Grid(x_key, y_key, values[x_key], values[y_key], np.array(scores), states)


def _in_order(values: Sequence[Any]) -> list[Any]:
    """Return distinct values, sorted where they are numbers, else as they came."""
    distinct = list(dict.fromkeys(values))
    numbers = all(isinstance(value, int | float) for value in distinct)
    return sorted(distinct) if numbers else distinct


def _state(variant: Variant) -> str:
    row = variant.rows[0]
    return row.reason["kind"] if row.reason else row.state
