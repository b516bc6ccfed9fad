import csv
import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dashboards.report.table_formats import (
    Column,
    ResultTable,
    escape_latex,
    render_csv,
    render_latex,
)

HOSTILE = "50 % of $dog_1$ & {cat} #2 ~ ^ \\input{x} <b> | \"'"
TABLE = ResultTable(
    "one",
    (
        Column("class", "class", is_text=True),
        Column("f1", "F1 & more", ".3f"),
        Column("rate", "rate", ".3g"),
    ),
    (("cat", 0.123456789, 7.35e-06), (HOSTILE, -0.5, None), ("a,\nb\u202e", 1, 0.25)),
)

requires_pdflatex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex is not installed"
)


def test_csv_has_all_digits_and_is_read_back() -> None:
    text = render_csv(TABLE)
    assert text.splitlines()[:2] == ["class,f1,rate", "cat,0.123456789,7.35e-06"]
    _, one, two, three = csv.reader(io.StringIO(text))
    assert [float(one[1]), float(one[2])] == [0.123456789, 7.35e-06]
    assert two == [HOSTILE, "-0.5", ""] and three[0] == "a,\nb\u202e"


def test_latex_has_rules_of_booktabs_and_escaped_cells() -> None:
    lines = render_latex(TABLE).splitlines()
    assert lines[0].startswith("% ") and "booktabs" in lines[0]
    assert lines[1:5] == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"class & F1 \& more & rate \\",
        r"\midrule",
    ]
    assert lines[5] == r"cat & 0.123 & $7.35 \times 10^{-6}$ \\"
    assert lines[6].endswith(r" & $-0.500$ & -- \\")
    assert lines[7:] == [r"a, b & 1.000 & 0.25 \\", r"\bottomrule", r"\end{tabular}"]


def test_every_special_character_is_escaped() -> None:
    assert escape_latex(r"\&%$#_{}") == r"\textbackslash{}\&\%\$\#\_\{\}"
    assert escape_latex("~^<>|") == (
        r"\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}"
    )
    assert escape_latex("a\tb\r\nc\u2028d") == "a b c d"
    assert escape_latex("Ünïcödé 猫") == "Ünïcödé 猫"


@pytest.mark.parametrize("first", ["[cat]", "*", "*[2em] dog"])
def test_first_cell_is_no_argument_of_the_line_before(first: str) -> None:
    column = Column(first, first, is_text=True)
    table = ResultTable("one", (column, column), ((first, first), ("cat", first)))
    lines = render_latex(table).splitlines()
    protected = rf"{{}}{first} & {first} \\"
    assert lines[3] == lines[5] == protected
    assert lines[6] == rf"cat & {first} \\"


@requires_pdflatex
def test_latex_table_compiles(tmp_path: Path) -> None:
    table = replace(TABLE, rows=(*TABLE.rows, ("[cat]", 1, 1), ("* dog", 1, 1)))
    (tmp_path / "table.tex").write_text(render_latex(table))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage[T1]{fontenc}"
        "\\begin{document}\\input{table.tex}\\end{document}"
    )
    command = ["pdflatex", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 1000
