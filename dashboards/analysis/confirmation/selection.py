"""Which candidate of a search wins, by the runs of fresh seeds. Must not import torch."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.analysis.welch import welch


@dataclass(frozen=True)
class Candidate:
    """A trial of the search whose setting was trained again with fresh seeds.

    Attributes:
        number: Of the searched trial.
        search_score: Its best validation macro-F1 in the search.
        scores: Macro-F1 of each fresh run after its last epoch, on the search's own images.
        n_failed: Fresh runs that did not come to their end.
        cost: Multiply-accumulates of its network for one image.
    """

    number: int
    search_score: float
    scores: tuple[float, ...]
    n_failed: int
    cost: int

    @property
    def mean(self) -> float | None:
        """Mean of the fresh scores, None while there are none."""
        return statistics.fmean(self.scores) if self.scores else None


def choose(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the candidate of the best mean, the one that the search found better of equals.

    One of whose runs failed is no winner: it would fail its users as well.

    Args:
        candidates: All runs of each are over.

    Returns:
        The winner; None where each has a run that failed.
    """
    whole = [one for one in candidates if one.scores and not one.n_failed]
    return max(
        whole, key=lambda one: (one.mean or 0.0, one.search_score, -one.number), default=None
    )


def still_racing(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return those that a race goes on with: not clearly behind the best.

    Clearly behind is one whose mean lies more than a standard error of the difference below.

    Args:
        candidates: All runs of each are over.
    """
    best = choose(candidates)
    if best is None:
        return []
    return [one for one in candidates if one is best or _keeps_up(one, best)]


def _keeps_up(one: Candidate, best: Candidate) -> bool:
    if one.n_failed or not one.scores:
        return False
    behind = welch(best.scores, one.scores)
    return behind.value <= behind.error


def cheaper_rival(winner: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the cheapest candidate within a standard error of the winner, if it costs less.

    Args:
        winner: Of the candidates.
        candidates: All runs of each are over.
    """
    rivals = [one for one in candidates if one.cost < winner.cost and _keeps_up(one, winner)]
    return min(rivals, key=lambda one: one.cost, default=None)
