"""Figures: history, learning curves, class counts; as PNG files or inline SVG.

Built on `Figure` objects without pyplot, so that nothing is global. Texts and axes have one ink,
which `svg` turns into the page's own text colour: the same figure suits a light and a dark page.
Must not import torch.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unicodedata import category

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from dashboards.figures.palette import ASIDE, BEST, INK, MEASURED, STATES
from model.rate_curve import RateCurve
from storage.atomic_files import write_atomically
from storage.group_rights import make_folders
from storage.trial_rows import TrialRow, best_complete

MOST_NAMED_CLASSES = 32
NAME_LENGTH = 18
UNDRAWABLE = ("Cc", "Cs", "Cn", "Zl", "Zp")
"""Unicode's categories of signs that have no picture, or no place in XML."""
MOST_CLEAR_CURVES = 40
MOST_POINTS = 6000
RASTER_DPI = 160
MARKERS = {
    "complete": "o",
    "pruned": "x",
    "failed": "v",
    "running": "d",
    "paused": "s",
    "waiting": ".",
}
CUT_STYLES = {"pruned": "--", "paused": ":"}
"""How the curve of a trial is drawn before which others went on."""


def add_colour_bar(
    figure: Figure, coloured: AxesImage | Collection, axes: Axes, label: str
) -> None:
    """Say what the colours of an image, of points or of lines mean."""
    colour_bar = figure.colorbar(coloured, ax=axes, fraction=0.046, pad=0.03)
    colour_bar.set_label(label, color=INK, fontsize=8)
    colour_bar.ax.tick_params(colors=INK, labelsize=7)
    colour_bar.outline.set_visible(False)


def numbering(n_classes: int) -> str:
    """Return what a label of an axis says where classes have no names."""
    return "" if n_classes <= MOST_NAMED_CLASSES else ", by number"


def shorten(name: str) -> str:
    """Return a class name that fits beside others; what cannot be drawn is escaped."""
    name = "".join(
        sign.encode("unicode_escape").decode() if category(sign) in UNDRAWABLE else sign
        for sign in name
    )
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"


def drawable_names(class_names: Sequence[str]) -> list[str]:
    """Return class names for a PNG: a number where the font lacks a sign of a name."""
    glyphs = get_font(findfont(FontProperties())).get_charmap()
    return [
        name if all(ord(sign) in glyphs for sign in shorten(name)) else f"class {number}"
        for number, name in enumerate(class_names)
    ]


def history_figure(rows: Sequence[TrialRow]) -> Figure:
    """Draw the value of each trial over its number, with the best complete one so far."""
    figure, axes = empty_figure(4.4, 2.9)
    scored = [row for row in rows if row.value is not None]
    scatter_by_state(axes, [(row, row.number) for row in scored], size=26)
    complete = [row for row in scored if row.state == "complete"]
    if complete:
        best = np.maximum.accumulate([row.value or 0.0 for row in complete])
        numbers = [row.number for row in complete]
        axes.step(numbers, best, where="post", color=BEST, linewidth=1.6, label="best so far")
    axes.set_xlabel("trial", color=INK)
    axes.set_ylabel("best validation macro-F1", color=INK)
    draw_legend(axes)
    return figure


def scatter_by_state(axes: Axes, points: Sequence[tuple[TrialRow, float]], *, size: int) -> None:
    """Draw the value of trials over x, each given with its trial; the state sets the marker."""
    for state, colour in STATES.items():
        some = [(x, row.value or 0.0) for row, x in points if row.state == state]
        if some:
            xs, values = zip(*some, strict=True)
            drawn = axes.scatter(
                xs, values, s=size, marker=MARKERS[state], c=colour, label=state, zorder=3
            )
            rasterise_many(drawn, len(some))


def learning_curves_figure(rows: Sequence[TrialRow]) -> Figure:
    """Draw validation macro-F1 over epochs.

    The best trial stands out, pruned ones are dashed, paused ones dotted.
    """
    figure, axes = empty_figure(4.4, 2.9)
    best = best_complete(rows)
    n_points = sum(len(row.curve) for row in rows)
    for row in rows:
        is_best, is_cut = row is best, row.is_cut_short
        (line,) = axes.plot(
            range(1, len(row.curve) + 1),
            row.curve,
            color=BEST if is_best else STATES[row.state] if is_cut else MEASURED,
            linestyle=CUT_STYLES.get(row.state, "-"),
            linewidth=2.2 if is_best else 1.0,
            alpha=1.0 if is_best else 0.75 if len(rows) <= MOST_CLEAR_CURVES else 0.4,
            marker="." if len(row.curve) == 1 else None,
            zorder=4 if is_best else 2,
        )
        rasterise_many(line, 0 if is_best else n_points)
        others = row.state if is_cut else "other trials"
        line.set_label(f"trial {row.number}, the best" if is_best else others)
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel("validation macro-F1", color=INK)
    draw_legend(axes)
    return figure


def class_counts_figure(counts: Sequence[int], class_names: Sequence[str]) -> Figure:
    """Draw how many images each class has, in the order of the classes, with their mean.

    Args:
        counts: Images of each class.
        class_names: One for each. Beyond 32 the axis shows class numbers instead.
    """
    n_classes = len(counts)
    is_named = n_classes <= MOST_NAMED_CLASSES
    figure, axes = empty_figure(4.4, 3.6 if is_named else 2.9)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if is_named:
        axes.bar(range(n_classes), counts, color=MEASURED)
    else:  # one outline: a thousand classes stay a small figure
        axes.stairs(counts, np.arange(n_classes + 1) - 0.5, fill=True, color=MEASURED, linewidth=0)
    axes.axhline(float(np.mean(counts)), color=INK, linewidth=1, linestyle="--", label="mean")
    axes.set_xlabel("class" + numbering(n_classes), color=INK)
    axes.set_ylabel("images", color=INK)
    axes.set_ylim(0, 1.08 * max(counts))
    if is_named:
        short = [shorten(name) for name in class_names]
        axes.set_xticks(range(n_classes), short, rotation=90, fontsize=7, parse_math=False)
    draw_legend(axes)
    return figure


def rate_curve_figure(curve: RateCurve) -> Figure:
    """Draw the loss of the LR finder over the learning rate, with its suggestion."""
    figure, axes = empty_figure(4.4, 2.9)
    axes.set_xscale("log")
    axes.plot(curve.rates, curve.losses, color=ASIDE, linewidth=0.8, label="each step")
    axes.plot(curve.rates, curve.smoothed, color=MEASURED, linewidth=1.8, label="smoothed")
    for label, rate, colour, style in (
        ("suggested", curve.suggested_rate, BEST, "-"),
        ("steepest", curve.steepest_rate, INK, ":"),
    ):
        if rate is not None:
            shown = f"{label} {rate:.2g}"
            axes.axvline(rate, color=colour, linestyle=style, linewidth=1.2, label=shown)
    # The last, exploding steps would flatten all that came before.
    if curve.smoothed:
        low, high = min(curve.losses), max(curve.smoothed[0], *curve.smoothed)
        axes.set_ylim(low - 0.05 * (high - low), high + 0.25 * (high - low))
    axes.set_xlabel("learning rate", color=INK)
    axes.set_ylabel("training loss", color=INK)
    draw_legend(axes, columns=2)
    return figure


def empty_figure(width_inches: float, height_inches: float) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes in the style of all."""
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_alpha(0.4)
        spine.set_visible(side in ("left", "bottom"))
    return figure, axes


def rasterise_many(artist: Artist, n_points: int) -> None:
    """Keep a page small: what has very many points is rasterised within the figure."""
    artist.set_rasterized(n_points > MOST_POINTS)


def draw_legend(axes: Axes, *, columns: int = 4) -> None:
    """Name what was drawn, each kind once."""
    handles, labels = axes.get_legend_handles_labels()
    kinds = dict(zip(labels, handles, strict=True))
    if kinds:
        axes.legend(
            kinds.values(),
            kinds.keys(),
            loc="lower left",  # above the axes, where it hides no point
            bbox_to_anchor=(0, 1),
            borderpad=0,
            frameon=False,
            fontsize=8,
            labelcolor=INK,
            ncols=columns,
            columnspacing=1.2,
            handlelength=1.4,
        )


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a picture on white."""
    make_folders(path.parent)
    content = io.BytesIO()
    with quiet_about_glyphs():
        figure.savefig(content, format="png", dpi=150, facecolor="white")
    write_atomically(path, content.getvalue())


@contextmanager
def quiet_about_glyphs() -> Iterator[None]:
    """Let signs pass that the font lacks: a browser has them, and a box says enough in a PNG."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font", UserWarning)
        yield


def svg(figure: Figure) -> str:
    """Return a figure as an SVG element for a page, in the page's text colour."""
    content = io.StringIO()
    # Text stays text, and equal figures give equal bytes.
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}),
        quiet_about_glyphs(),
    ):
        figure.savefig(
            content, format="svg", transparent=True, dpi=RASTER_DPI, metadata={"Date": None}
        )
    element = content.getvalue()
    return element[element.index("<svg") :].replace(f": {INK}", ": currentColor")
