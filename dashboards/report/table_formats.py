"""A table of results, and what it is as CSV and as LaTeX. Must not import torch."""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | int | float | None

ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
NOTHING = "--"
POWER = re.compile(r"(.+)e([+-]\d+)")
# The quotation mark needs T1, the other signs are the same in it.
PREAMBLE = "% \\usepackage{booktabs} and \\usepackage[T1]{fontenc}"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: Its name in the CSV file.
        heading: Its heading in LaTeX.
        form: How a number is written in LaTeX; the CSV file has all digits.
        is_text: Whether it is aligned to the left.
    """

    key: str
    heading: str
    form: str = ""
    is_text: bool = False


@dataclass(frozen=True)
class ResultTable:
    """A table of results.

    Attributes:
        name: Of its files.
        columns: Its columns.
        rows: A cell for each column; None where there is no value.
    """

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


def render_csv(table: ResultTable) -> str:
    """Return a table as CSV, numbers with all their digits, an empty field where there is none."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(column.key for column in table.columns)
    lines.writerows(table.rows)
    return text.getvalue()


def render_latex(table: ResultTable) -> str:
    r"""Return a table as LaTeX: a `tabular` with the rules of `booktabs`, ready for `\input`."""
    alignment = "".join("l" if column.is_text else "r" for column in table.columns)
    headings = [escape_latex(column.heading) for column in table.columns]
    rows = [
        [_cell(cell, column.form) for cell, column in zip(row, table.columns, strict=True)]
        for row in table.rows
    ]
    lines = [
        PREAMBLE,
        f"\\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _line(headings),
        r"\midrule",
        *map(_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Return a text in which LaTeX sees no command; signs that print nothing become spaces."""
    visible = "".join(
        " " if unicodedata.category(sign)[0] == "C" or sign in "\u2028\u2029" else sign
        for sign in text
    )
    return "".join(ESCAPED.get(sign, sign) for sign in " ".join(visible.split()))


def _line(cells: Sequence[str]) -> str:
    # LaTeX would take them for an argument of the command that ends the line before.
    protection = "{}" if cells[0].startswith(("[", "*")) else ""
    return protection + " & ".join(cells) + r" \\"


def _cell(cell: Cell, form: str) -> str:
    if cell is None:
        return NOTHING
    if isinstance(cell, str):
        return escape_latex(cell)
    number = format(cell, form)
    if (power := POWER.fullmatch(number)) is not None:
        return f"${power[1]} \\times 10^{{{int(power[2])}}}$"
    return f"${number}$" if number[0] in "+-" else number
