"""HTML files that need no network, no server and no other file, filled from templates.

Whatever is put into a page is text, unless it is `Markup`.
"""

import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from dashboards.analysis.comparison import RULE, compare_variants, shown_number
from dashboards.analysis.cost import Cost
from dashboards.analysis.spending import describe_budget
from dashboards.analysis.status import StudyStatus
from dashboards.errors import DashboardError
from dashboards.figures.mistakes import encode_png
from dashboards.figures.palette import BEST, STATES
from dashboards.formatting import (
    shown_classes,
    shown_duration,
    shown_p_value,
    shown_params,
    shows_top5,
)
from dashboards.report.captioned import markup
from model.standard_errors import accuracy_standard_error
from storage.atomic_files import replace_file
from storage.budget import SECONDS_PER_HOUR
from storage.group_rights import make_folders
from storage.trial_rows import TrialRow

MOST_PIXELS = 96


def write_page(path: Path, template: str, context: dict[str, Any]) -> None:
    """Fill a template of this room and write the page.

    Args:
        path: The HTML file; an older one is replaced.
        template: Name of the template.
        context: What the template shows.

    Raises:
        DashboardError: If the file cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"rule": RULE, "shown_classes": shown_classes, "shows_top5": shows_top5}
    environment.globals |= {"colours": {**STATES, "best": BEST}}
    environment.filters |= {
        "inline": markup,
        "bar": bar_widths,
        "budget": describe_budget,
        "duration": shown_duration,
        "score": shown_score,
        "percent": lambda value: f"{100 * value:.2f} %",
        "count": lambda value: f"{value:,}",
        "params": lambda row: shown_params(row).items(),
        "picture": picture_address,
        "number": shown_number,
        "compared": compare_variants,
        "p_value": shown_p_value,
        "accuracy": shown_accuracy,
        "json": inline_json,
        "with_code": with_code,
        "sentence": as_sentence,
        "spread": shown_spread,
    }
    write_text(path, environment.get_template(template).render(context))


def bar_widths(cost: Cost, status: StudyStatus) -> list[tuple[str, float]]:
    """Return what each state has of the bar of a study's progress, in percent of its budget."""
    spending = status.spending
    spent = [
        {"trials": one.n_trials, "epochs": one.n_epochs, "hours": one.seconds / SECONDS_PER_HOUR}[
            spending.unit
        ]
        for one in cost.states
    ]
    whole = max(spending.amount, sum(spent))
    return [
        (one.state, 100 * part / whole)
        for one, part in zip(cost.states, spent, strict=True)
        if part
    ]


def write_text(path: Path, text: str) -> None:
    """Write a report.

    Args:
        path: The file; an older one is replaced.
        text: What it says.

    Raises:
        DashboardError: If the file cannot be written.
    """
    try:
        make_folders(path.parent)
        replace_file(path, text.encode())
    except OSError as error:
        raise DashboardError(
            f"report must be a file that can be written, {path} cannot ({error.strerror}): "
            "choose another path with --out"
        ) from None


def shown_score(value: float | None) -> str:
    """Return a score with four digits, or what is left of one that would round to nothing."""
    if value is None:
        return "–"
    return f"{value:.1e}" if 0 < value < 0.0005 else f"{value:.4f}"


def shown_accuracy(row: TrialRow, n_images: int) -> str:
    """Return the validation accuracy at a trial's best epoch with its standard error."""
    if row.best is None:
        return "–"
    accuracy = row.best.validation_accuracy
    error = accuracy_standard_error(accuracy, n_images)
    return f"{100 * accuracy:.1f} ± {100 * error:.1f} %"


def as_sentence(text: str) -> str:
    """Return a text with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def shown_spread(scores: Sequence[float]) -> str:
    """Return the mean of scores and their standard deviation, as far as there are enough."""
    if not scores:
        return "–"
    mean = shown_score(statistics.fmean(scores))
    return f"{mean} ± {statistics.stdev(scores):.4f}" if len(scores) > 1 else mean


def with_code(sentence: str) -> Markup:
    """Return a sentence with what stands between backticks as code elements."""
    parts = sentence.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )


def inline_json(value: Any) -> Markup:
    """Return a value as JSON within a script element, which nothing in it can end."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))


def inline_script(path: Path) -> Markup:
    """Return a script of this room, or of a package, for the inside of a script element.

    Raises:
        DashboardError: If it would end the element.
    """
    text = path.read_text(encoding="utf-8")
    if re.search(r"</script|<!--", text, re.IGNORECASE):
        raise DashboardError(f"script must not end its element, {path} does: use another version")
    return Markup(text)


def picture_address(image_HWC: NDArray[np.uint8]) -> str:
    """Return an RGB image as an address that holds the whole picture."""
    return f"data:image/png;base64,{encode_png(image_HWC)}"


def thumbnail(image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an RGB image of at most 96 pixels a side; a smaller one as it is."""
    height, width, _ = image_HWC.shape
    if max(height, width) <= MOST_PIXELS:
        return np.asarray(image_HWC)
    image = Image.fromarray(image_HWC)
    image.thumbnail((MOST_PIXELS, MOST_PIXELS), Image.Resampling.LANCZOS)
    return np.asarray(image)
