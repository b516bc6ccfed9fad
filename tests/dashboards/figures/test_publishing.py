import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from dashboards.figures.base import class_counts_figure
from dashboards.figures.publishing import encode_pdf, encode_svg
from dashboards.figures.split_curves import split_curves_figure

requires_pdffonts = pytest.mark.skipif(
    shutil.which("pdffonts") is None, reason="pdffonts is not installed (Debian: poppler-utils)"
)


def draw() -> Figure:
    names = ["cat", "Ünïcödé", "猫", "$dog_1$"]
    return class_counts_figure([3, 4, 5, 6], names)


@requires_pdffonts
def test_pdf_holds_every_font_as_true_type(tmp_path: Path) -> None:
    path = tmp_path / "figure.pdf"
    path.write_bytes(encode_pdf(draw()))
    listed = subprocess.run(["pdffonts", path], capture_output=True, text=True, check=True).stdout
    heading, rule, *fonts = listed.splitlines()
    columns = [match.span() for match in re.finditer("-+", rule)]
    names = [heading[start:end].strip() for start, end in columns]
    rows = [
        dict(zip(names, (line[start:end].strip() for start, end in columns), strict=True))
        for line in fonts
    ]
    assert rows
    assert {row["emb"] for row in rows} == {"yes"}
    assert all("Type 3" not in row["type"] for row in rows)


@pytest.mark.parametrize("encode", [encode_svg, encode_pdf])
def test_equal_figures_give_equal_bytes_without_a_date(
    encode: Callable[[Figure], bytes],
) -> None:
    one, other = encode(draw()), encode(draw())
    assert one == other
    assert b"CreationDate" not in one and b"dc:date" not in one


def test_svg_needs_no_font_and_has_a_colour_of_its_own() -> None:
    text = encode_svg(split_curves_figure([0.1, 0.2], [0.1, 0.3])).decode()
    assert text.startswith("<?xml") and "<text" not in text
    assert "currentColor" not in text
