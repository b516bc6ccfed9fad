"""A report as files for papers: each figure as SVG and PDF, each table as CSV and LaTeX.

The same study gives the same bytes: no date is in them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from dashboards.errors import DashboardError
from dashboards.figures.publishing import encode_pdf, encode_svg
from dashboards.report.captioned import CaptionedFigure
from dashboards.report.content import ReportContent
from dashboards.report.final_section import FinalRun
from dashboards.report.result_tables import compose_tables
from dashboards.report.table_formats import render_csv, render_latex
from storage.atomic_files import replace_file
from storage.group_rights import make_folders


def write_figures(content: ReportContent, folder: Path) -> list[Path]:
    """Write every figure of a report as `NAME.svg` and `NAME.pdf`; return the files.

    Raises:
        DashboardError: If a file cannot be written.
    """
    encodings = {".svg": encode_svg, ".pdf": encode_pdf}
    files = {
        folder / f"{name}{suffix}": encode(figure)
        for name, figure in name_figures(content).items()
        for suffix, encode in encodings.items()
    }
    return _write(files, folder, "--figures")


def write_tables(content: ReportContent, folder: Path) -> list[Path]:
    """Write the tables of a report as `NAME.csv` and `NAME.tex`; return the files.

    Raises:
        DashboardError: If a file cannot be written.
    """
    formats = {".csv": render_csv, ".tex": render_latex}
    files = {
        folder / f"{table.name}{suffix}": render(table).encode()
        for table in compose_tables(content)
        for suffix, render in formats.items()
    }
    return _write(files, folder, "--tables")


def _write(files: dict[Path, bytes], folder: Path, option: str) -> list[Path]:
    path = folder
    try:
        make_folders(folder)
        for path, encoded in files.items():
            replace_file(path, encoded)
    except OSError as error:
        raise DashboardError(
            f"{option} must be a folder that can be written, {path} cannot ({error.strerror}): "
            "choose another folder"
        ) from None
    return list(files)


def name_figures(content: ReportContent) -> dict[str, Figure]:
    """Return every figure of a report, by a name for its files."""
    named: dict[str, Figure] = {}
    for title, figure in _titled(content):
        name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        same = sum(re.fullmatch(rf"{name}(-\d+)?", other) is not None for other in named)
        named[f"{name}-{same + 1}" if same else name] = figure
    return named


def list_figures(content: ReportContent) -> list[CaptionedFigure]:
    """Return the figures of a report that are not of a final run or of the data."""
    search, given = content.search, content.given
    captioned: list[CaptionedFigure | None] = [
        content.confirmation.figure if content.confirmation else None,
        content.timeline,
        search.history,
        search.curves,
        search.importances,
        search.parallel,
        *search.slices,
        *search.pairs,
        given.heat_map,
        given.comparison,
        content.lr_finder,
    ]
    return [one for one in captioned if one is not None]


def _titled(content: ReportContent) -> Iterator[tuple[str, Figure]]:
    yield from ((one.title, one.figure) for one in list_figures(content))
    for number, final in enumerate(content.finals, start=1):
        for title, figure in _of_final(final):
            if figure is not None:
                yield f"final {number} {title}", figure
    for split in content.data.splits:
        if split.figure is not None:
            yield f"classes of {split.split}", split.figure


def _of_final(final: FinalRun) -> Iterator[tuple[str, Figure | None]]:
    yield from ((one.title, one.figure) for one in (final.curves, final.losses) if one)
    if final.classes is not None:
        yield "confusion matrix", final.classes.matrix
        yield "confusion matrix ordered", final.classes.ordered_matrix
