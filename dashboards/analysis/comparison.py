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

from dashboards.analysis.welch import holm, welch
from dashboards.formatting import NAMING_DIGITS, setting_name, shown_p_value, shown_value
from storage.trial_rows import TrialRow

SEED = "seed"
LABEL = "label"
BASE = "base"
CONFIDENCE = 0.95
RULE = (
    "± is the standard deviation over seeds. A difference is called clear where Welch's t test "
    "tells it from none at 95 %, after Holm's correction for their number (p is corrected): with "
    "nothing behind any of them, one comparison in twenty would still find a clear one."
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


@dataclass(frozen=True)
class Compared:
    """A point beside the base, and how far their difference may be trusted.

    Attributes:
        variant: The point.
        difference: By how much its mean score exceeds that of the base; None while one is
            missing, and of the base itself.
        p_value: Of Welch's t test, two-sided, after Holm's correction for all points that could
            be tested; None where the spread of either is unknown.
        verdict: The same in words; empty for the base.
    """

    variant: Variant
    difference: float | None
    p_value: float | None
    verdict: str


def compare_variants(variants: Sequence[Variant]) -> list[Compared]:
    """Return the base first, then the others from the best mean score to the worst.

    Args:
        variants: All of them, for the correction counts them; the base first.
    """
    ranked = rank_variants(variants)
    tested = [one for one in ranked[1:] if _is_testable(one, ranked[0])]
    found = [welch(one.scores, ranked[0].scores).p_two_sided() for one in tested]
    p_values = {id(one): p for one, p in zip(tested, holm(found), strict=True)}
    return [_compared(one, ranked[0], p_values.get(id(one))) for one in ranked]


def _is_testable(variant: Variant, base: Variant) -> bool:
    return variant.spread is not None and base.spread is not None


def _compared(variant: Variant, base: Variant, p_value: float | None) -> Compared:
    if variant is base:
        return Compared(variant, None, None, "")
    found = difference(variant, base)
    if found is None:
        said = "no result"
    elif p_value is None:
        said = "one seed: spread unknown"
    else:
        said = "clear" if p_value < 1 - CONFIDENCE else "within the seeds' spread"
    return Compared(variant, found, p_value, said)


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
    for one in compare_variants(variants):
        variant = one.variant
        means = [variant.mean_at_best(name) for _, name in COLUMNS]
        table.add_row(
            Text(variant.label),
            f"{len(variant.complete)}/{len(variant.rows)}",
            shown_number(variant.mean_at_best("epoch"), ".0f"),
            *(shown_number(mean, ".3f") for mean in means),
            shown_number(variant.mean, ".4f"),
            shown_number(variant.spread, ".4f"),
            "" if not one.verdict else shown_number(one.difference, "+.4f"),
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
    if all(len(variant.rows) == 1 for variant in variants):
        return ["One seed each: the spread is unknown, so no difference can be told from chance."]
    base, *others = compare_variants(variants)
    return [*(_remark(one, base.variant) for one in others), RULE]


def _remark(one: Compared, base: Variant) -> str:
    found = shown_number(one.difference, "+.4f")
    p_value = "" if one.p_value is None else f" (p {shown_p_value(one.p_value)})"
    return f"{one.variant.label}: {found} to {base.label}, {one.verdict}{p_value}"
