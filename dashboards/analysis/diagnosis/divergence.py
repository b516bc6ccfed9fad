"""How many trials diverged, where and when. Must not import torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.analysis.diagnosis.evidence import FEWEST_ENDS, Evidence
from dashboards.analysis.diagnosis.remedies import fork_with
from dashboards.analysis.diagnosis.settings import (
    describe_new_end,
    round_to,
    spoken_name,
)
from dashboards.analysis.search_space import Hyperparameter
from dashboards.formatting import shown_value
from storage.diagnosed_trials import DivergedValues

MOST_CHANCE = 0.01
"""How probable it may be that so many trials lie at one end of any range by chance."""
FIRST_EPOCH_SHARE = 0.75
"""Part of the diverged trials that did so in their first epoch."""
N_BEST = 3
WARMUP = "optimization.warmup_epochs"
CLIPPING = "optimization.gradient_clip_norm"


@dataclass(frozen=True)
class DivergingEnd:
    """An end of a range where trials diverge, and nowhere else.

    Attributes:
        name: Optuna's name of the hyperparameter.
        is_high: Whether it is the upper end.
        limit: The value of the diverged trial farthest from that end.
        n_there: Complete and pruned trials from there to the end.
        n_elsewhere: All others, none of which diverged.
        n_diverged: How many of those there diverged.
        chance: How probable it is that they all lie there by chance.
    """

    name: str
    is_high: bool
    limit: float
    n_there: int
    n_elsewhere: int
    n_diverged: int
    chance: float


def describe_divergence(evidence: Evidence) -> list[str]:
    """Return how many trials diverged and where; and whether most did in their first epoch."""
    n_finished, n_diverged = evidence.n_finished, evidence.n_diverged
    if not evidence.diverges_often:
        return []
    share = f"{n_diverged:,} of {n_finished:,} finished trials diverged"
    ends = find_diverging_ends(evidence)
    said = _at_end(evidence, ends[0]) if ends else f", at no end of one range. {_calm(evidence)}"
    sentences = [share + said]
    if evidence.n_first_epoch >= max(FEWEST_ENDS, FIRST_EPOCH_SHARE * n_diverged):
        sentences.append(_in_first_epoch(evidence))
    return sentences


def find_diverging_ends(evidence: Evidence) -> list[DivergingEnd]:
    """Return the ends of ranges where all diverged trials lie, and that not by chance.

    Those of the least chance come first. The chance is that of drawing as many of the trials
    blindly (hypergeometric), times the number of ends looked at.
    """
    if not evidence.diverges_often:
        return []
    space = evidence.space
    ranges = [one for one in evidence.diverged if not space[one.name].choices]
    found = [end for one in ranges for end in _ends(one, n_looked_at=2 * len(ranges))]
    clear = [end for end in found if end.chance <= MOST_CHANCE]
    return sorted(clear, key=lambda end: (end.chance, end.name, end.is_high))


def _ends(one: DivergedValues, *, n_looked_at: int) -> list[DivergingEnd]:
    sides = [(True, one.lowest, one.n_from_lowest), (False, one.highest, one.n_to_highest)]
    return [
        DivergingEnd(
            name=one.name,
            is_high=is_high,
            limit=limit,
            n_there=n_there,
            n_elsewhere=one.n_trials - n_there,
            n_diverged=one.n_diverged,
            chance=n_looked_at
            * math.comb(n_there, one.n_diverged)
            / math.comb(one.n_trials, one.n_diverged),
        )
        for is_high, limit, n_there in sides
    ]


def _at_end(evidence: Evidence, end: DivergingEnd) -> str:
    one = evidence.space[end.name]
    limit = shown_value(one_number(one, end.limit))
    where = f"{spoken_name(end.name)} {limit} or {'more' if end.is_high else 'less'}"
    beyond = "below" if end.is_high else "above"
    said = (
        f", all with {where}: {end.n_diverged:,} of the {end.n_there:,} trials there, none of the "
        f"{end.n_elsewhere:,} {beyond}."
    )
    best = evidence.best_first[:N_BEST]
    new_end = _narrowed(one, end)
    if any(_is_there(trial.params, end) for trial in best):
        return f"{said} So are some of the best {N_BEST}, so keep the range. {_calm(evidence)}"
    if new_end is None:
        return f"{said} {_calm(evidence)}"
    side, key = ("Lower the upper", "high") if end.is_high else ("Raise the lower", "low")
    remedy = describe_new_end(end.name, key, new_end)
    return f"{said} {side} end of its range, {remedy}."


def one_number(one: Hyperparameter, value: float) -> float | int:
    """Return a stored value as one of the hyperparameter's own kind."""
    return int(value) if one.is_integer else value


def _is_there(params: dict[str, float], end: DivergingEnd) -> bool:
    value = params.get(end.name)
    if value is None:
        return False
    return value >= end.limit if end.is_high else value <= end.limit


def _narrowed(one: Hyperparameter, end: DivergingEnd) -> float | None:
    """Return the new end of a range that leaves out where trials diverge; None where all is."""
    if one.is_integer:
        value = end.limit - 1 if end.is_high else end.limit + 1
    else:
        value = round_to(end.limit, 2, up=not end.is_high)
    is_narrower = one.low <= value < one.high if end.is_high else one.low < value <= one.high
    return one_number(one, value) if is_narrower else None


def _in_first_epoch(evidence: Evidence) -> str:
    warmup = evidence.setting(WARMUP)
    during = "" if warmup is None else f", with {WARMUP}={warmup:g}"
    return (
        f"{evidence.n_first_epoch:,} of {evidence.n_diverged:,} diverged trials did so in their "
        f"first epoch{during}: the learning rate is too high from the start. {_warm_up(evidence)}"
    )


def _warm_up(evidence: Evidence) -> str:
    """Return the advice to warm up for longer, or another one where the schedule is too short."""
    warmup, n_epochs = evidence.setting(WARMUP), evidence.setting("search.n_epochs")
    if warmup is None or n_epochs is None or WARMUP in evidence.space:
        return _calm(evidence)
    longer = max(1.0, 2 * warmup)
    if 2 * longer > n_epochs:
        return _calm(evidence)
    return f"A longer warm-up may help, {fork_with(WARMUP, float(longer))}."


def _calm(evidence: Evidence) -> str:
    """Return the advice to clip gradients, or to search lower rates where they are clipped."""
    if evidence.setting(CLIPPING) is None and CLIPPING not in evidence.space:
        return f"Clip gradients, {fork_with(CLIPPING, 1)}."
    return "Search lower learning rates, or warm up for longer."


def list_diverging(ends: Sequence[DivergingEnd]) -> list[tuple[str, bool]]:
    """Return name and side of each end."""
    return [(end.name, end.is_high) for end in ends]
