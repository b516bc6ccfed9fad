"""The page of several studies: one HTML file that needs no other file."""

from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from dashboards.figures.base import svg
from dashboards.figures.best_so_far import best_so_far_figure
from dashboards.formatting import shown_duration
from dashboards.report.html import shown_score, write_page
from dashboards.studies.side_by_side import SideBySide


def write_side_by_side(found: SideBySide, path: Path) -> None:
    """Write the page; an older one is replaced.

    Raises:
        DashboardError: If it cannot be written.
    """
    results = found.results
    rows = {
        "trials done": [f"{one.done} of {one.budget}" for one in results],
        "by state": [
            ", ".join(f"{n} {state}" for state, n in one.trials.items() if n) for one in results
        ],
        "best validation macro-F1": [shown_score(one.best_value) for one in results],
        "final validation macro-F1": [
            shown_score(one.final_validation_macro_f1) for one in results
        ],
        "test macro-F1": [shown_score(one.test_macro_f1) for one in results],
        "test accuracy": [shown_score(one.test_accuracy) for one in results],
        "epochs": [f"{one.epochs:,}" for one in results],
        "worker time": [shown_duration(one.worker_seconds) for one in results],
    }
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
