"""The page of several studies: one HTML file that needs no other file."""

from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from dashboards.figures.base import svg
from dashboards.figures.best_so_far import best_so_far_figure
from dashboards.report.html import write_page
from dashboards.studies.side_by_side import MEASURES, SideBySide


def write_side_by_side(found: SideBySide, path: Path) -> None:
    """Write the page; an older one is replaced.

    Raises:
        DashboardError: If it cannot be written.
    """
    results = found.results
    rows = {name: [read(one) or "–" for one in results] for name, read in MEASURES.items()}
    curves = {one.study_name: one.curve for one in results}
    context = {
        "names": [one.study_name for one in results],
        "rows": rows,
        "differences": found.differences,
        "cautions": found.cautions,
        "curves": Markup(svg(best_so_far_figure(curves))),
        "written_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    write_page(path, "side_by_side.html", context)
