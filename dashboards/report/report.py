"""The report of a study: one HTML file, and beside it a summary in Markdown.

It shows what was searched, the results, what they cost and how far to trust them. The page needs
no network, no server and no other file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from dashboards.figures.live import label_trials
from dashboards.report.content import ReportContent, compose_report
from dashboards.report.html import inline_script, write_page, write_text
from dashboards.report.publication import list_figures, write_figures, write_tables
from dashboards.report.summary import render_summary
from storage.study_storage import StudyStorage

SCRIPT = Path(__file__).parent / "templates" / "page.js"


@dataclass(frozen=True)
class PublishedFiles:
    """What was written beside a report.

    Attributes:
        figures: The files of its figures.
        tables: The files of its tables.
    """

    figures: Sequence[Path]
    tables: Sequence[Path]


def write_report(
    storage: StudyStorage,
    study_name: str,
    *,
    runs: Path,
    path: Path,
    cache: Path | None = None,
    figures: Path | None = None,
    tables: Path | None = None,
) -> PublishedFiles:
    """Write the report of a study, finished or not.

    Args:
        storage: Its database.
        study_name: Its name.
        runs: The folder of all runs.
        path: The HTML file; it is replaced, and so is the summary, `.md` beside it.
        cache: The folder of the decoded images; default that of the study's configuration.
        figures: A folder for every figure of the report as SVG and PDF; None: none are written.
        tables: A folder for its tables as CSV and LaTeX, likewise.

    Returns:
        The files in these two folders.

    Raises:
        StorageError: If there is no such study, or the folder of runs is of another one.
        DashboardError: If a file or folder cannot be written, or a confusion matrix is damaged.
    """
    content = compose_report(storage, study_name, runs=runs, cache=cache)
    names = {"facts": content.protocol.facts, "best": content.status.best, **_live_parts(content)}
    write_page(path, "report.html", vars(content) | names)
    write_text(path.with_suffix(".md"), render_summary(content, page=path.name))
    return PublishedFiles(
        figures=[] if figures is None else write_figures(content, figures),
        tables=[] if tables is None else write_tables(content, tables),
    )


def _live_parts(content: ReportContent) -> dict[str, Any]:
    """Return what the figures that zoom need: labels of trials, plotly, and the page's script."""
    live = [one.live for one in list_figures(content) if one.live is not None]
    return {
        "labels": label_trials(content.by_number.values(), live),
        "plotly": inline_script(Path(str(files("plotly"))) / "package_data" / "plotly.min.js"),
        "script": inline_script(SCRIPT),
    }
