"""HTML files that need no network, no server and no other file, filled from templates.

Whatever is put into a page is text, unless it is marked as drawn by us.
"""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from dashboards.comparison import difference, shown_number, verdict
from dashboards.errors import DashboardError
from dashboards.trials import shown_duration, shown_params
from storage.run_paths import write_atomically


def write_page(path: Path, template: str, context: dict[str, Any]) -> None:
    """Fill a template of this folder and write the page.

    Args:
        path: The HTML file; an older one is replaced.
        template: Name of the template.
        context: What the template shows.

    Raises:
        DashboardError: If the file cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = shown_duration
    environment.filters["score"] = shown_score
    environment.filters["percent"] = lambda value: f"{100 * value:.2f} %"
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["params"] = lambda row: shown_params(row).items()
    environment.filters["picture"] = picture_address
    environment.filters["number"] = shown_number
    environment.filters["difference"] = difference
    environment.filters["verdict"] = verdict
    page = environment.get_template(template).render(context)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page.encode())
    except OSError as error:
        raise DashboardError(
            f"report must be a file that can be written, {path} cannot ({error.strerror}): "
            "choose another path"
        ) from None


def shown_score(value: float | None) -> str:
    """Return a score with four digits, or what is left of one that would round to nothing."""
    if value is None:
        return "–"
    return f"{value:.1e}" if 0 < value < 0.0005 else f"{value:.4f}"


def picture_address(image_HWC: NDArray[np.uint8]) -> str:
    """Return an RGB image as an address that holds the whole picture."""
    content = io.BytesIO()
    Image.fromarray(image_HWC).save(content, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
