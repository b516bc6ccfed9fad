"""The report of a study, as one HTML file and as Markdown.

Says what was searched, what came out, what it cost and how far the result may be trusted. The
page needs no network, no server and no other file; the Markdown has its pictures in a folder
beside it. Both are filled from one `ReportContent`.
"""

from pathlib import Path

from dashboards.errors import DashboardError
from dashboards.figures.base import save_png
from dashboards.figures.captioned import Drawing
from dashboards.report.content import ReportContent, compose_report
from dashboards.report.html import render_page, write_text
from dashboards.report.markdown import render_markdown
from storage.study_storage import StudyStorage

FIGURES_SUFFIX = "-figures"


def write_report(
    storage: StudyStorage,
    study_name: str,
    *,
    runs: Path,
    path: Path,
    cache: Path | None = None,
) -> None:
    """Write the report of a study, at whatever point it stands.

    Beside `report.html` come `report.md` and, for that, the folder `report-figures`.

    Args:
        storage: Its database.
        study_name: Its name.
        runs: The folder of all runs.
        path: The HTML file; an older one is replaced, and so is what lies beside it.
        cache: The folder of the decoded images; default that of the study's configuration.

    Raises:
        StorageError: If there is no such study, or the folder of runs is of another one.
        DashboardError: If a file cannot be written, or a confusion matrix is damaged.
    """
    content = compose_report(storage, study_name, runs=runs, cache=cache)
    write_text(path, render_page("report.html", _names(content)))
    figures = path.with_name(path.stem + FIGURES_SUFFIX)
    _write_figures(content.drawings, figures)
    context = _names(content) | {"figures": figures.name, "page": path.name}
    write_text(path.with_suffix(".md"), render_markdown("report.md", context))


def _names(content: ReportContent) -> dict[str, object]:
    """Return the parts of the content by the names that templates call them."""
    return vars(content) | {"facts": content.protocol.facts, "best": content.status.best}


def _write_figures(drawings: list[Drawing], folder: Path) -> None:
    """Write drawings as pictures, and remove those of an older report."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for drawing in drawings:
            save_png(drawing.figure, folder / f"{drawing.name}.png")
        for older in folder.glob("*.png"):
            if older.stem not in {drawing.name for drawing in drawings}:
                older.unlink()
    except OSError as error:
        raise DashboardError(
            f"the figures of a report must have a folder that can be written, {folder} cannot "
            f"({error.strerror}): choose another place"
        ) from None
