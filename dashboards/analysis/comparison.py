"""Results of a study of given points: runs of one point together, and how points differ.

Reads trials alone, so the report and the command line show the same. Must not import torch.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text
from scipy.special import stdtrit

from dashboards.formatting import NAMING_DIGITS, setting_name, shown_value
from storage.trial_rows import TrialRow

SEED = "seed"
LABEL = "label"
BASE = "base"
CONFIDENCE = 0.95
RULE = (
    "± is the standard deviation over seeds. A difference is called clear where Welch's t test "
    "tells it from none at 95 %: with nothing behind them, one in twenty would be too."
)


@dataclass(frozen=True)
class Variant:
    """One point, run once or with several seeds.

    Attributes:
        label: What it is called.
        settings: What it sets, by dotted key, its seed left out.
        rows: Its runs, in the order of the queue.
    """

    label: str
    settings: dict[str, Any]
    rows: tuple[TrialRow, ...]

    @property
    def complete(self) -> list[TrialRow]:
        """Its runs that came to their end."""
        return [row for row in self.rows if row.state == "complete"]

    @property
    def scores(self) -> list[float]:
        """Best validation macro-F1 of each complete run."""
        return [row.value for row in self.complete if row.value is not None]

    @property
    def mean(self) -> float | None:
        """Mean score, None while no run is complete."""
        # Not `fmean`, by which equal scores would differ with their number.
        return statistics.mean(self.scores) if self.scores else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of the scores over seeds; None with fewer than two."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def curve(self) -> list[float]:
        """Mean validation macro-F1 of each epoch that all runs which have begun have reached."""
        curves = [row.curve for row in self.rows if row.curve]
        return [statistics.fmean(scores) for scores in zip(*curves, strict=False)]

    def spread_at_best(self, name: str) -> float | None:
        """Return the standard deviation over seeds of a metric at each run's best epoch."""
        values = [float(getattr(row.best, name)) for row in self.complete if row.best is not None]
        return statistics.stdev(values) if len(values) > 1 else None

    def mean_at_best(self, name: str) -> float | None:
        """Return the mean of a recorded metric at the best epoch of each complete run."""
        values = [float(getattr(row.best, name)) for row in self.complete if row.best is not None]
        return statistics.fmean(values) if values else None


def read_variants(rows: Sequence[TrialRow]) -> list[Variant]:
    """Return the trials by point; the first is what the others are compared with."""
    placed = sorted((row for row in rows if row.slot is not None), key=lambda row: row.slot or 0)
    groups: dict[tuple[Any, ...], list[TrialRow]] = {}
    for row in placed:
        groups.setdefault(tuple(_unseeded(row).items()), []).append(row)
    first = _unseeded(placed[0]) if placed else {}
    return [
        Variant(_label(members[0], first), _unseeded(members[0]), tuple(members))
        for members in groups.values()
    ]


def _unseeded(row: TrialRow) -> dict[str, Any]:
    return {key: value for key, value in sorted(row.params.items()) if key != SEED}


def _label(row: TrialRow, first: dict[str, Any]) -> str:
    """Return the given label, or what sets the point apart from the first."""
    if LABEL in row.attributes:
        return str(row.attributes[LABEL])
    other = {key: value for key, value in _unseeded(row).items() if first.get(key) != value}
    texts = [
        f"{setting_name(key)} {shown_value(value, digits=NAMING_DIGITS)}"
        for key, value in other.items()
    ]
    return ", ".join(texts) or BASE


def is_comparison(variants: Sequence[Variant]) -> bool:
    """Return whether points are named or repeated: else a ranking says all there is to say."""
    named = any(LABEL in row.attributes for variant in variants for row in variant.rows)
    return len(variants) > 1 and (named or any(len(variant.rows) > 1 for variant in variants))


def difference(variant: Variant, base: Variant) -> float | None:
    """Return by how much the mean score exceeds that of the base, None while one is missing."""
    if variant.mean is None or base.mean is None:
        return None
    return variant.mean - base.mean


def verdict(variant: Variant, base: Variant) -> str:
    """Return how far a difference to the base may be trusted.

    Welch's t test, two-sided, takes the spread of each from its own few runs (B. L. Welch, "The
    generalization of 'Student's' problem when several different population variances are
    involved", Biometrika 34, 1947).
    """
    found = difference(variant, base)
    if variant is base:
        return ""
    if found is None:
        return "no result"
    if variant.spread is None or base.spread is None:
        return "one seed: spread unknown"
    return "clear" if abs(found) > _least_clear(variant, base) else "within the seeds' spread"


def _least_clear(variant: Variant, base: Variant) -> float:
    """Return the difference from which on Welch's test calls it one; 0 where nothing spreads."""
    squares = [(statistics.variance(one.scores), len(one.scores)) for one in (variant, base)]
    error = sum(square / n for square, n in squares)
    if error == 0:
        return 0.0
    degrees = error**2 / sum((square / n) ** 2 / (n - 1) for square, n in squares)
    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * math.sqrt(error)


def rank_variants(variants: Sequence[Variant]) -> list[Variant]:
    """Return the base first, then the others from the best mean score to the worst."""
    return [*variants[:1], *sorted(variants[1:], key=lambda one: -(one.mean or -math.inf))]


COLUMNS = (
    ("train\nacc.", "train_accuracy"),
    ("val.\nloss", "validation_loss"),
    ("val.\nacc.", "validation_accuracy"),
)


def comparison_table(variants: Sequence[Variant]) -> Table:
    """Return means over seeds and differences to the base, for a terminal of 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("run", max_width=23, overflow="fold")
    headings = ("runs", "best\nepoch", *(name for name, _ in COLUMNS), "macro-F1", "±", "diff.")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    base = variants[0]
    for variant in rank_variants(variants):
        means = [variant.mean_at_best(name) for _, name in COLUMNS]
        table.add_row(
            Text(variant.label),
            f"{len(variant.complete)}/{len(variant.rows)}",
            shown_number(variant.mean_at_best("epoch"), ".0f"),
            *(shown_number(mean, ".3f") for mean in means),
            shown_number(variant.mean, ".4f"),
            shown_number(variant.spread, ".4f"),
            "" if variant is base else shown_number(difference(variant, base), "+.4f"),
        )
    return table


def shown_number(value: float | None, form: str) -> str:
    """Return a number, or a dash where there is none."""
    return "–" if value is None else format(value, form)


def remarks(variants: Sequence[Variant]) -> list[str]:
    """Return a line for each difference, and the rule that calls it clear.

    Args:
        variants: The base first; where none is repeated, one line says so of all.
    """
    base = variants[0]
    if all(len(variant.rows) == 1 for variant in variants):
        return ["One seed each: the spread is unknown, so no difference can be told from chance."]
    lines = []
    for variant in rank_variants(variants)[1:]:
        found = shown_number(difference(variant, base), "+.4f")
        lines.append(f"{variant.label}: {found} to {base.label}, {verdict(variant, base)}")
    return [*lines, RULE]
