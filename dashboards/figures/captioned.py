"""A figure with its words: the same for a page and for Markdown. Must not import torch."""

from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup
from matplotlib.figure import Figure

from dashboards.figures.base import svg

WIDE_INCHES = 5.0


@dataclass(frozen=True)
class Drawing:
    """A figure of a report.

    Attributes:
        name: Of its file where it becomes one, without suffix.
        title: What it shows.
        caption: How it is read.
        figure: The figure.
    """

    name: str
    title: str
    caption: str
    figure: Figure

    @property
    def is_wide(self) -> bool:
        """Whether a small screen scrolls it, for shrunk its texts could not be read."""
        return self.figure.get_figwidth() > WIDE_INCHES

    @cached_property
    def markup(self) -> Markup:
        """The figure as an SVG element; matplotlib escapes the texts that it draws."""
        return Markup(svg(self.figure))
