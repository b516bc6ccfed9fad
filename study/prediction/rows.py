"""How predictions are written, a row each: CSV, JSON lines, or a table for the terminal.

The columns are file, predicted, probability, class_2, probability_2 and so on, and error.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from rich.cells import cell_len, set_cell_size

from data.sources.folder_walk import readable
from study.prediction.prediction import Prediction
from study.progress import printable

Format = Literal["csv", "jsonl", "table"]
FORMATS: tuple[Format, ...] = ("csv", "jsonl", "table")
DIGITS = 9
"""Significant digits of a probability."""
WIDEST_FILE = 60
WIDEST_CLASS = 30
GAP = "  "


@dataclass(frozen=True)
class Rows:
    """A format: what comes before the first row, and the text of each row, line ends included."""

    header: str
    write: Callable[[Prediction], str]


def build_rows(
    kind: Format, *, n_top: int, paths: Sequence[str], class_names: Sequence[str], width: int
) -> Rows:
    """Return a format for predictions.

    Args:
        kind: The format.
        n_top: How many classes each prediction has.
        paths: The pictures; the column of a table is as wide as their names.
        class_names: Of the model.
        width: Of a table, in columns of the terminal; classes that have no room are left out,
            but for the best.
    """
    if kind == "csv":
        return Rows(_csv_line(column_names(n_top)), _csv_row(n_top))
    if kind == "jsonl":
        return Rows("", _json_row(n_top))
    return _table(n_top, paths, class_names, width)


def column_names(n_top: int) -> list[str]:
    """Return the names of the columns of CSV and JSON lines."""
    others = ((f"class_{k}", f"probability_{k}") for k in range(2, n_top + 1))
    return ["file", "predicted", "probability", *chain.from_iterable(others), "error"]


def _csv_row(n_top: int) -> Callable[[Prediction], str]:
    def write(prediction: Prediction) -> str:
        ranked = ((name, f"{value:.{DIGITS}g}") for name, value in prediction.ranked)
        pairs = [*chain.from_iterable(ranked)] or [""] * (2 * n_top)
        return _csv_line([readable(prediction.file), *pairs, readable(prediction.error)])

    return write


def _csv_line(values: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _json_row(n_top: int) -> Callable[[Prediction], str]:
    names = column_names(n_top)

    def write(prediction: Prediction) -> str:
        ranked = ((name, float(f"{value:.{DIGITS}g}")) for name, value in prediction.ranked)
        pairs = [*chain.from_iterable(ranked)] or [None] * (2 * n_top)
        error = readable(prediction.error) or None
        values = [readable(prediction.file), *pairs, error]
        return json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False) + "\n"

    return write


def _table(n_top: int, paths: Sequence[str], class_names: Sequence[str], width: int) -> Rows:
    file_width = min(WIDEST_FILE, max(cell_len(_shown(path)) for path in ("file", *paths)))
    names = (*class_names, "predicted")
    class_width = min(WIDEST_CLASS, max(cell_len(_shown(name)) for name in names))
    pair_width = class_width + len(" 0.000")
    n_pairs = max(1, min(n_top, (width - file_width) // (pair_width + len(GAP))))

    def write(prediction: Prediction) -> str:
        file = _fitted(_shown(prediction.file), file_width)
        pairs = (
            f"{_fitted(_shown(name), class_width)} {value:.3f}"
            for name, value in prediction.ranked[:n_pairs]
        )
        error = [f"cannot be read: {_shown(prediction.error)}"] if prediction.error else []
        return GAP.join([file, *pairs, *error]).rstrip() + "\n"

    titles = ["predicted", *(f"class {k}" for k in range(2, n_pairs + 1))]
    title = GAP.join(
        [_fitted("file", file_width), *(_fitted(title, pair_width) for title in titles)]
    )
    return Rows(f"{title.rstrip()}\n{'─' * cell_len(title)}\n", write)


def _shown(text: str) -> str:
    return printable(readable(text))


def _fitted(text: str, width: int) -> str:
    """Return a text of so many columns: the end of a long one, which tells files apart."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    while cell_len(text) > width - 1:
        text = text[1:]
    return set_cell_size(f"…{text}", width)
