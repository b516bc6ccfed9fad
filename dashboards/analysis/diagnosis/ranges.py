"""Whether the best trials lie at the ends of their ranges. Must not import torch."""

import math
from collections.abc import Sequence

from dashboards.analysis.diagnosis.evidence import Evidence
from dashboards.analysis.diagnosis.settings import describe_new_end, spoken_name, widen
from dashboards.analysis.search_space import Hyperparameter
from dashboards.formatting import shown_value
from storage.diagnosed_trials import ScoredTrial

FEWEST_COMPLETE = 10
"""Complete trials before anything is said of the best ones."""
FEWEST_BEST = 3
OUTER = 0.1
"""Part of a range, on its own scale, that counts as its end."""
MOST_CHANCE = 0.01
"""How probable it may be that trials drawn blindly would all lie at that end."""
COMPLETE_PER_BEST = 3
"""Complete trials for each that counts as one of the best."""


def describe_edges(evidence: Evidence, *, diverging: Sequence[tuple[str, bool]]) -> list[str]:
    """Return a sentence for each end of a range where all of the best trials lie.

    Args:
        evidence: What the diagnosis rests on.
        diverging: Name of each hyperparameter, and whether it is the upper end, where trials
            diverge: that end is not to be widened.
    """
    sentences = []
    for name, one in sorted(evidence.space.items()):
        for is_high in (False, True):
            if (name, is_high) not in diverging:
                sentences += _describe_edge(evidence, one, is_high=is_high)
    return sentences


def _describe_edge(evidence: Evidence, one: Hyperparameter, *, is_high: bool) -> list[str]:
    if one.choices or one.low == one.high:
        return []
    n_best = count_best(one)
    best = evidence.best_first[:n_best]
    n_needed = max(FEWEST_COMPLETE, COMPLETE_PER_BEST * n_best)
    if len(best) < n_best or evidence.n_complete < n_needed:
        return []
    new_end = widen(one, is_high=is_high)
    if new_end is None or not all(_is_at_end(trial, one, is_high=is_high) for trial in best):
        return []
    values = sorted(trial.params[one.name] for trial in best)
    side, end = ("upper", "high") if is_high else ("lower", "low")
    remedy = describe_new_end(one.name, end, new_end)
    return [
        f"The best {n_best} of {evidence.n_complete:,} complete trials have "
        f"{spoken_name(one.name)} {shown_span(values)}, at the {side} end of its range, "
        f"{one.range_text}: widen it, {remedy}."
    ]


def count_best(one: Hyperparameter) -> int:
    """Return how many of the best trials must lie at an end before it is worth saying.

    Few whole numbers have large ends: drawn blindly, three trials of two values lie at one end in
    one case of eight.
    """
    share = max(OUTER, 1 / (one.high - one.low + 1)) if one.is_integer else OUTER
    return max(FEWEST_BEST, math.ceil(math.log(MOST_CHANCE) / math.log(share)))


def _is_at_end(trial: ScoredTrial, one: Hyperparameter, *, is_high: bool) -> bool:
    if one.name not in trial.params:
        return False
    values = (float(trial.params[one.name]), one.low, one.high)
    value, low, high = map(math.log, values) if one.is_log else values
    part = (value - low) / (high - low)
    return part > 1 - OUTER if is_high else part < OUTER


def shown_span(values: Sequence[float]) -> str:
    """Return the least and the greatest of rising values as one text: `0.8 to 0.97`, or `4`."""
    texts = list(dict.fromkeys(map(shown_value, (values[0], values[-1]))))
    return " to ".join(texts)
