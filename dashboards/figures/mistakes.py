"""The most confident mistakes of a final run's test, with their pictures.

Written by the one test evaluation, so that no view opens the test split again.
Must not import torch.
"""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from dashboards.errors import DashboardError
from dashboards.figures.base import shorten
from dashboards.figures.palette import INK
from storage.atomic_files import write_atomically

MOST_MISTAKES = 24
COLUMNS = 6


@dataclass(frozen=True)
class PicturedMistake:
    """An image that was taken for another class.

    Attributes:
        index: Its position in the prepared test split, from 0.
        true_class: Name of its class.
        predicted_class: Name of the class it was taken for.
        probability: What the network gave to that class, in [0, 1].
        picture: The image as the network saw it, (H, W, 3), RGB.
        file: What the source calls the image; empty in files of early versions.
    """

    index: int
    true_class: str
    predicted_class: str
    probability: float
    picture: NDArray[np.uint8]
    file: str = ""


def save_mistakes(path: Path, mistakes: Sequence[PicturedMistake]) -> None:
    """Write mistakes with their pictures into one file, which is whole or not there."""
    values = [
        {
            "index": mistake.index,
            "file": mistake.file,
            "true_class": mistake.true_class,
            "predicted_class": mistake.predicted_class,
            "probability": mistake.probability,
            "png": encode_png(mistake.picture),
        }
        for mistake in mistakes
    ]
    write_atomically(path, (json.dumps(values, indent=1) + "\n").encode())


def load_mistakes(path: Path) -> list[PicturedMistake]:
    """Return what `save_mistakes` wrote.

    Raises:
        DashboardError: If the file is not of this kind.
    """
    try:
        return [_mistake(**values) for values in json.loads(path.read_bytes())]
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise DashboardError(
            f"mistakes of a test must be a file that `study final` wrote, {path} is not "
            f"({type(error).__name__}): restore it, or remove it to leave them out"
        ) from None


def _mistake(*, png: str, probability: float, **values: Any) -> PicturedMistake:
    content = io.BytesIO(base64.b64decode(png, validate=True))
    with Image.open(content, formats=["PNG"]) as image:
        picture = np.asarray(image.convert("RGB"))
    return PicturedMistake(**values, probability=float(probability), picture=picture)


def encode_png(picture: NDArray[np.uint8]) -> str:
    """Return an RGB image as a PNG file in base64."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode()


def mistakes_figure(mistakes: Sequence[PicturedMistake]) -> Figure:
    """Draw the mistakes, each under its class and the one it was taken for; at least one."""
    n_rows = -(-len(mistakes) // COLUMNS)
    figure = Figure(figsize=(1.5 * COLUMNS, 1.95 * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(n_rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, mistake in zip(grid.flat, mistakes, strict=False):
        axes.imshow(mistake.picture, interpolation="nearest")
        title = (
            f"{shorten(mistake.true_class)}\nas {shorten(mistake.predicted_class)}\n"
            f"{mistake.probability:.1%}"
        )
        axes.set_title(title, color=INK, fontsize=7, parse_math=False)
    return figure
