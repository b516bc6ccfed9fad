"""A figure with its title and caption. Must not import torch."""

from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from dashboards.figures.base import svg
from dashboards.figures.live import LiveFigure

WIDE_INCHES = 5.0


@dataclass(frozen=True)
class CaptionedFigure:
    """A figure of a report.

    Attributes:
        title: What it shows.
        caption: How to read it.
        figure: The figure.
        live: The same for plotly, which a page draws over it where scripts run.
    """

    title: str
    caption: str
    figure: Figure
    live: LiveFigure | None = None

    @property
    def is_wide(self) -> bool:
        """Whether a small screen scrolls it, as its texts are too small to shrink."""
        return self.figure.get_figwidth() > WIDE_INCHES

    @property
    def markup(self) -> Markup:
        """The figure as an SVG element."""
        return markup(self.figure)


def markup(figure: Figure) -> Markup:
    """Return a figure as an SVG element; matplotlib escapes the texts that it draws."""
    return Markup(svg(figure))
