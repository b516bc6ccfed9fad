"""Figures as files for papers: SVG and PDF that look alike everywhere, with equal bytes each time.

Must not import torch.
"""

import io

import matplotlib
from matplotlib.figure import Figure

from dashboards.figures.base import quiet_about_glyphs

RASTER_DPI = 300
OUTLINES = "path"
"""An SVG file cannot carry its fonts."""
TRUE_TYPE = 42
"""Publishers accept it; Type 3, matplotlib's default, they reject."""


def encode_svg(figure: Figure) -> bytes:
    """Return a figure as an SVG file whose texts are outlines."""
    return _encode(figure, "svg", {"Date": None})


def encode_pdf(figure: Figure) -> bytes:
    """Return a figure as a PDF file that holds its fonts."""
    return _encode(figure, "pdf", {"CreationDate": None})


def _encode(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    content = io.BytesIO()
    with (
        matplotlib.rc_context(
            {"svg.fonttype": OUTLINES, "svg.hashsalt": "report", "pdf.fonttype": TRUE_TYPE}
        ),
        quiet_about_glyphs(),
    ):
        figure.savefig(content, format=kind, transparent=True, dpi=RASTER_DPI, metadata=metadata)
    return content.getvalue()
