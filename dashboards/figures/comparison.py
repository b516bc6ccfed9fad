"""Figures of a study of given points: heat map of a grid, curves laid over each other.

Must not import torch.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dashboards.analysis.comparison import Variant, is_comparison, rank_variants
from dashboards.analysis.grid import Grid, read_grid
from dashboards.figures.base import add_colour_bar, empty_figure, save_png, svg
from dashboards.figures.palette import BLUES, INK, LINES
from dashboards.formatting import NAMING_DIGITS, setting_name, shown_value
from storage.atomic_files import write_atomically
from storage.run_paths import RunPaths

LINE_STYLES = ("-", "--", ":")
WHITE_FROM = 0.6


def heat_map_figure(grid: Grid) -> Figure:
    """Draw scores over two settings, each written in its cell."""
    n_rows, n_columns = grid.scores_YX.shape
    figure, axes = empty_figure(max(3.6, 0.78 * n_columns + 1.9), max(2.4, 0.5 * n_rows + 1.3))
    known = grid.scores_YX[~np.isnan(grid.scores_YX)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    image = axes.imshow(
        np.ma.masked_invalid(grid.scores_YX),
        cmap=BLUES,
        vmin=low,
        vmax=max(high, low + 1e-9),
        aspect="auto",
        origin="lower",
        interpolation="nearest",
    )
    add_colour_bar(figure, image, axes, "best validation macro-F1")
    axes.grid(False)
    columns, rows = (
        [shown_value(value, digits=NAMING_DIGITS) for value in values]
        for values in (grid.x_values, grid.y_values)
    )
    axes.set_xticks(range(n_columns), columns, parse_math=False)
    axes.set_yticks(range(n_rows), rows, parse_math=False)
    axes.set_xlabel(setting_name(grid.x_key), color=INK)
    axes.set_ylabel(setting_name(grid.y_key), color=INK)
    for row, column in np.ndindex(n_rows, n_columns):
        score = grid.scores_YX[row, column]
        text = grid.states_YX[row][column] or f"{score:.3f}"
        dark = not np.isnan(score) and score - low > WHITE_FROM * (high - low)
        colour = "white" if dark else INK
        axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=7)
    return figure


def comparison_figure(variants: Sequence[Variant]) -> Figure:
    """Draw validation macro-F1 over epochs, the mean over seeds; the base is black and thick."""
    shown = [variant for variant in rank_variants(variants) if variant.curve]
    figure, axes = empty_figure(6.6, max(3.2, 0.22 * len(shown) + 0.8))
    others = 0
    for variant in shown:
        is_base = variant is variants[0]
        colour, style = INK, "-"
        if not is_base:
            colour = LINES[others % len(LINES)]
            style = LINE_STYLES[others // len(LINES) % len(LINE_STYLES)]
            others += 1
        curve = variant.curve
        axes.plot(
            range(1, len(curve) + 1),
            curve,
            color=colour,
            linestyle=style,
            linewidth=2.4 if is_base else 1.4,
            marker="." if len(curve) == 1 else None,
            zorder=4 if is_base else 2,
            label=_plain(variant),
        )
    if max((len(variant.curve) for variant in shown), default=1) == 1:
        axes.set_xticks([1])
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel("validation macro-F1", color=INK)
    if shown:
        figure.legend(
            loc="outside right upper", frameon=False, fontsize=7.5, labelcolor=INK, handlelength=2
        )
    return figure


def _plain(variant: Variant) -> str:
    """Return a label in which no dollar sign starts a formula, and no underscore hides it."""
    label = variant.label.replace("$", r"\$")
    return f" {label}" if label.startswith("_") else label


def write_figures(variants: Sequence[Variant], paths: RunPaths) -> list[Path]:
    """Write the figures that a study of given points has, each as PNG and SVG.

    Returns:
        The pictures, without the SVG files beside them.

    Raises:
        RunFolderError: If the run folder cannot be written.
    """
    figures = {}
    grid = read_grid(variants)
    if grid is not None:
        figures[paths.heat_map] = heat_map_figure(grid)
    if is_comparison(variants):
        figures[paths.comparison] = comparison_figure(variants)
    for path, figure in figures.items():
        save_png(figure, path)
        write_atomically(path.with_suffix(".svg"), svg(figure).encode())
    return list(figures)
