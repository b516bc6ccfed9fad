"""The figures of a search with their captions, and why one is missing. Must not import torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from dashboards.analysis.importances import Importances
from dashboards.analysis.sampling import sample
from dashboards.analysis.search_space import Hyperparameter, choose_varied
from dashboards.figures.base import history_figure, learning_curves_figure
from dashboards.figures.live import live_curves, live_history, live_slice, sample_curves
from dashboards.figures.live_shapes import live_parallel
from dashboards.figures.search import (
    importance_figure,
    is_lacking,
    pair_figure,
    parallel_figure,
    slice_figure,
)
from dashboards.report.captioned import CaptionedFigure
from storage.trial_rows import TrialRow

FEWEST_SCORED = 3
MOST_PAIRED = 3
MOST_SLICES = 12
MOST_DRAWN = 600


@dataclass(frozen=True)
class SearchSection:
    """The figures of a search so far.

    Attributes:
        history: The value of each trial; None before the first epoch.
        curves: All learning curves, likewise.
        importances: None where there are no importances.
        parallel: Parallel coordinates, None where there is too little to see.
        slices: The value over each hyperparameter, likewise empty.
        pairs: Trials over two hyperparameters each, likewise empty.
        why_no_shapes: Why parallel coordinates, slices and pairs are missing, else empty.
    """

    history: CaptionedFigure | None
    curves: CaptionedFigure | None
    importances: CaptionedFigure | None
    parallel: CaptionedFigure | None
    slices: Sequence[CaptionedFigure]
    pairs: Sequence[CaptionedFigure]
    why_no_shapes: str


def build_search_section(
    rows: Sequence[TrialRow],
    space: Sequence[Hyperparameter],
    importances: Importances,
    *,
    shown_below: bool = False,
) -> SearchSection:
    """Draw the figures of a search.

    Args:
        rows: Its trials.
        space: Its hyperparameters.
        importances: Of them.
        shown_below: Whether given points have figures of their own.
    """
    scored = [row for row in rows if row.value is not None]
    drawn = sample(scored, MOST_DRAWN, lambda row: row.value if row.state == "complete" else None)
    finished = [row for row in drawn if row.state == "complete" or row.is_cut_short]
    note = describe_sample(len(drawn), len(scored))
    searched = choose_varied(space, finished)
    why_no_shapes = (
        "the figures of the given points show more"
        if shown_below
        else _why_no_shapes(finished, searched)
    )
    shown = [] if why_no_shapes else _most_important(searched, importances)
    return SearchSection(
        history=_history(scored, drawn),
        curves=_curves(drawn, len(scored)),
        importances=_importances(importances),
        parallel=_parallel(searched, finished, note) if len(shown) > 1 else None,
        slices=[_slice(one, drawn, note) for one in shown[:MOST_SLICES]],
        pairs=[
            _pair(x, y, finished, note)
            for x, y in combinations(shown[:MOST_PAIRED], 2)
            if _n_with_both(x, y, finished) >= FEWEST_SCORED
        ],
        why_no_shapes=why_no_shapes,
    )


def _n_with_both(x: Hyperparameter, y: Hyperparameter, rows: Sequence[TrialRow]) -> int:
    """Return how many trials have two hyperparameters: under conditions, perhaps none."""
    return sum(x.name in row.params and y.name in row.params for row in rows)


def _why_no_shapes(finished: Sequence[TrialRow], searched: Sequence[Hyperparameter]) -> str:
    if len(finished) < FEWEST_SCORED:
        n_finished = len(finished)
        return (
            f"at least {FEWEST_SCORED} complete, pruned or paused trials with a score are needed, "
            f"there {'is 1' if n_finished == 1 else f'are {n_finished}'}"
        )
    return "" if searched else "no hyperparameter has had two values yet"


def _most_important(
    searched: Sequence[Hyperparameter], importances: Importances
) -> list[Hyperparameter]:
    """Return the hyperparameters, the most important first.

    Where that is unknown, those with the most values come first: orders of magnitude, other real
    numbers, whole numbers, choices.
    """

    def place(one: Hyperparameter) -> tuple[float, bool, bool, bool]:
        share = importances.shares.get(one.name, 0.0)
        return (-share, bool(one.choices), one.is_integer, not one.is_log)

    return sorted(searched, key=place)


def _history(scored: Sequence[TrialRow], drawn: Sequence[TrialRow]) -> CaptionedFigure | None:
    if not scored:
        return None
    caption = (
        "Best validation macro-F1 of each trial, in the order of the queue; the step is the best "
        "complete one so far."
    )
    if len(drawn) < len(scored):
        caption += f" Where it zooms, {len(drawn):,} of {len(scored):,} trials are drawn."
    live = live_history(scored, drawn)
    return CaptionedFigure("Optimisation history", caption, history_figure(scored), live)


def describe_sample(n_drawn: int, n_all: int) -> str:
    """Return what a caption says where only a sample of trials is drawn."""
    if n_drawn == n_all:
        return ""
    return f" {n_drawn:,} of {n_all:,} trials are drawn: the best, the newest, and others between."


def _curves(rows: Sequence[TrialRow], n_scored: int) -> CaptionedFigure | None:
    curves = sample_curves([row for row in rows if row.curve])
    if not curves:
        return None
    caption = "Validation macro-F1 after each epoch; pruned trials are dashed, paused ones dotted."
    return CaptionedFigure(
        "Learning curves",
        caption + describe_sample(len(curves), n_scored),
        learning_curves_figure(curves),
        live_curves(curves),
    )


def _importances(importances: Importances) -> CaptionedFigure | None:
    if not importances.shares:
        return None
    caption = (
        f"PED-ANOVA: what sets the best {importances.n_best} apart from all "
        f"{importances.n_trials} complete trials; pruned ones do not count. With few trials the "
        "shares are rough, and a narrow range makes a hyperparameter look unimportant."
    )
    figure = importance_figure(importances.shares)
    return CaptionedFigure("Importance of hyperparameters", caption, figure)


def _parallel(
    searched: Sequence[Hyperparameter], finished: Sequence[TrialRow], note: str
) -> CaptionedFigure:
    caption = (
        "A line for each trial, from its hyperparameters to its score, which colours it; the best "
        "is orange. Pruned and paused trials are grey and dashed, and end at their best epoch."
        f"{note}"
    )
    if any(is_lacking(one, finished) for one in searched):
        caption += " A line passes above the axes of hyperparameters that its trial did not draw."
    return CaptionedFigure(
        "Parallel coordinates",
        caption,
        parallel_figure(searched, finished),
        live_parallel(searched, finished),
    )


def _slice(one: Hyperparameter, scored: Sequence[TrialRow], note: str) -> CaptionedFigure:
    caption = f"Best validation macro-F1 of each trial; the ring is the best complete one.{note}"
    figure, live = slice_figure(one, scored), live_slice(one, scored)
    return CaptionedFigure(f"Score by {one.label}", caption, figure, live)


def _pair(
    x: Hyperparameter, y: Hyperparameter, finished: Sequence[TrialRow], note: str
) -> CaptionedFigure:
    caption = (
        "Large and green is good, crosses are pruned or paused, the ring is the best complete "
        "one; where trials coincide, the better is on top. No surface is drawn between them, for "
        f"it would be guessed.{note}"
    )
    title = f"{x.label} and {y.label}".capitalize()
    return CaptionedFigure(title, caption, pair_figure(x, y, finished))
