"""What a search has cost: epochs and time by state, what pruning saved, how fast devices were.

Trials that another study ran are left out. Must not import torch.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.attempts import Attempt
from storage.budget import Budget
from storage.trial_rows import NOT_PROMOTED, PAUSED_STATE, TrialRow

STATES = ("complete", "pruned", "failed", PAUSED_STATE, "running")
BY_PRUNER = ("pruned", NOT_PROMOTED)
"""Kinds of reason for which others went on before a trial."""


@dataclass(frozen=True)
class StateCost:
    """What the trials of one state have cost so far.

    Attributes:
        state: Their state.
        n_trials: How many there are.
        n_epochs: Epochs that they trained.
        seconds: Time of these epochs, summed over workers.
        saved_epochs: Epochs that they would have trained had the pruner, or patience, not ended
            them early; of one that diverged or met a full memory none is saved.
        saved_seconds: Estimated time of these, by the mean epoch of the same trial.
    """

    state: str
    n_trials: int
    n_epochs: int
    seconds: float
    saved_epochs: int
    saved_seconds: float


@dataclass(frozen=True)
class Cost:
    """What a search has cost so far.

    Attributes:
        states: By state, those without a trial left out.
        full_epochs: Epochs that the whole budget takes if no trial ends early; None where it
            counts epochs or hours itself.
        images_per_second: Median over epochs of training images per second, by device.
        wall_seconds: From the first claim to the newest heartbeat, None before the first.
        n_workers: Processes that have had a trial.
        n_attempts: Claims of trials, those released or reclaimed later included.
    """

    states: Sequence[StateCost]
    full_epochs: int | None
    images_per_second: Mapping[str, float]
    wall_seconds: float | None
    n_workers: int
    n_attempts: int

    @property
    def n_epochs(self) -> int:
        """Epochs trained in all."""
        return sum(one.n_epochs for one in self.states)

    @property
    def pruning_saved_epochs(self) -> int:
        """Epochs that pruning has saved."""
        return sum(one.saved_epochs for one in self.states if one.state == "pruned")

    @property
    def pruning_saved_seconds(self) -> float:
        """Estimated time that pruning has saved."""
        return sum(one.saved_seconds for one in self.states if one.state == "pruned")


def compute_cost(
    rows: Sequence[TrialRow],
    *,
    attempts: Sequence[Attempt],
    budget: Budget,
    n_epochs: int,
) -> Cost:
    """Return what the trials of a study have cost.

    Args:
        rows: Its trials.
        attempts: Every attempt at them, the earliest first.
        budget: Of the whole study.
        n_epochs: Epochs of a whole trial.
    """
    own = [row for row in rows if not row.is_imported]
    by_state = {state: [row for row in own if row.state == state] for state in STATES}
    speeds: dict[str, list[float]] = defaultdict(list)
    for row in own:
        device = str(row.attributes.get("device", "unknown device"))
        speeds[device] += row.speeds
    wall = max((one.beat_at for one in attempts), default=0.0) - (
        attempts[0].started_at if attempts else 0.0
    )
    return Cost(
        states=[_state_cost(state, some, n_epochs) for state, some in by_state.items() if some],
        full_epochs=int(budget.amount) * n_epochs if budget.unit == "trials" else None,
        images_per_second={
            device: statistics.median(found) for device, found in sorted(speeds.items()) if found
        },
        wall_seconds=wall if attempts else None,
        n_workers=len({one.owner for one in attempts}),
        n_attempts=len(attempts),
    )


def _state_cost(state: str, rows: Sequence[TrialRow], n_epochs: int) -> StateCost:
    early = [row for row in rows if row.epochs_done and _ended_as_meant(row)]
    left = [n_epochs - row.epochs_done for row in early]
    return StateCost(
        state=state,
        n_trials=len(rows),
        n_epochs=sum(row.epochs_done for row in rows),
        seconds=sum(row.seconds for row in rows),
        saved_epochs=sum(left),
        saved_seconds=sum(
            n_left * row.seconds / row.epochs_done for n_left, row in zip(left, early, strict=True)
        ),
    )


def _ended_as_meant(row: TrialRow) -> bool:
    """Return whether a trial has a result or the pruner has ended it, neither by a mishap."""
    is_pruned = row.state == "pruned" and (row.reason or {}).get("kind") in BY_PRUNER
    return is_pruned or row.state == "complete"
