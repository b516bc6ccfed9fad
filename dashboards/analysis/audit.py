"""How often pruning was wrong: trials that ran on though they were to be cut, beside the others.

Must not import torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.analysis.diagnosis.evidence import DIVERGED
from storage.budget import counted
from storage.promotion import FACTOR, best_part, rung_epochs
from storage.records import Protocol
from storage.trial_rows import TrialRow

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PruningAudit:
    """What became of trials that ran on though they were to be cut.

    Attributes:
        n_trials: How many of them have come to an end: complete, or diverged later.
        n_winners: How many of these are better than the best of all other complete trials.
        n_better_half: How many are in the better half of all complete trials.
        spent_epochs: Epochs that they trained after they were to be cut.
        saved_epochs: Epochs that pruning has saved in the whole study.
    """

    n_trials: int
    n_winners: int
    n_better_half: int
    spent_epochs: int
    saved_epochs: int

    def __str__(self) -> str:
        return " ".join(self._sentences())

    def _sentences(self) -> Iterator[str]:
        several = self.n_trials > 1
        what = f"{self.n_trials:,} trials that were" if several else "1 trial that was"
        yield f"{what} to be cut ran on, for {counted(self.spent_epochs, 'epochs')} more."
        if self.n_winners:
            yield (
                f"{self.n_winners:,} ended better than the best of all others: a cut would have "
                "lost the winner."
            )
        else:
            most = 1 - (1 - CONFIDENCE) ** (1 / self.n_trials)
            yield (
                f"{'None of them' if several else 'It'} ended {'' if several else 'no '}better "
                f"than the best of all others: at {100 * CONFIDENCE:.0f} % confidence, at most "
                f"{100 * most:.0f} % of the cuts lose a winner."
            )
        yield f"{self.n_better_half:,} came into the better half of the complete trials."
        yield f"Pruning saved {counted(self.saved_epochs, 'epochs')}."


def audit_pruning(
    rows: Sequence[TrialRow], *, rungs: Sequence[int], saved_epochs: int
) -> PruningAudit | None:
    """Return what became of trials that ran on though they were to be cut.

    Args:
        rows: All trials of the study.
        rungs: Epochs at which trials pause; empty where they are pruned for good.
        saved_epochs: Epochs that pruning has saved.

    Returns:
        None where no such trial has come to an end, or no other is complete.
    """
    own = [row for row in rows if not row.is_imported]
    cut_at = find_cuts(own, rungs)
    complete = {row.number: row.value or 0.0 for row in own if row.state == "complete"}
    best = max((complete[number] for number in complete.keys() - cut_at.keys()), default=None)
    ended = [row for row in own if row.number in cut_at and _has_ended(row)]
    if best is None or not ended:
        return None
    better_half = set(best_part(complete, 2))
    values = [complete[row.number] for row in ended if row.number in complete]
    return PruningAudit(
        n_trials=len(ended),
        n_winners=sum(value > best for value in values),
        n_better_half=sum(row.number in better_half for row in ended),
        spent_epochs=sum(row.epochs_done - cut_at[row.number] for row in ended),
        saved_epochs=saved_epochs,
    )


def find_cuts(rows: Sequence[TrialRow], rungs: Sequence[int]) -> dict[int, int]:
    """Return the epoch at which each audited trial would have been cut for good, by its number.

    A trial that was to pause would have gone on as soon as it was in the better half of those
    that reached its rung. It counts as cut where it is not, by all that have reached it until now.

    Args:
        rows: The trials that the study itself ran.
        rungs: Epochs at which trials pause; empty where they are pruned for good.
    """
    noted = {row.number: row.audited_at for row in rows if row.audited_at is not None}
    if not rungs:
        return noted
    cut_at = {}
    for rung in sorted(rungs, reverse=True):  # the first of several comes last
        reached = {row.number: max(row.curve[:rung]) for row in rows if row.epochs_done >= rung}
        goes_on = set(best_part(reached, FACTOR))
        for number, epoch in noted.items():
            if rung >= epoch and number in reached and number not in goes_on:
                cut_at[number] = rung
    return cut_at


def _has_ended(row: TrialRow) -> bool:
    diverged = row.state == "pruned" and (row.reason or {}).get("kind") == DIVERGED
    return diverged or row.state == "complete"


def find_rungs(protocol: Protocol) -> list[int]:
    """Return the epochs at which the trials of a study pause; empty where they do not."""
    search: Mapping[str, Any] = protocol.configuration["search"]
    if search.get("pruner") != "promotion":
        return []
    return rung_epochs(
        search["rungs"],
        n_epochs=int(search["n_epochs"]),
        warmup_epochs=float(protocol.configuration["optimization"]["warmup_epochs"]),
    )
