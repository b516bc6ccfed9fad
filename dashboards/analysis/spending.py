"""How much of its budget a study has spent, in the budget's own unit. Must not import torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.budget import SECONDS_PER_HOUR, Budget, Unit, counted
from storage.records import Protocol
from storage.study_totals import Totals


@dataclass(frozen=True)
class Spending:
    """How much of its budget a study has spent.

    Attributes:
        unit: Trials, epochs of all trials, or hours of their epochs, summed over workers.
        amount: The budget.
        spent: Trials that are over, epochs that are recorded, or hours that these took.
        is_spent: Whether all of it is spent, or the rest is too small for a trial to begin.
    """

    unit: Unit
    amount: float
    spent: float
    is_spent: bool

    @property
    def left(self) -> float:
        """What is left, in the same unit."""
        return max(0.0, self.amount - self.spent)

    @property
    def share(self) -> float:
        """Part of the budget that is spent, at most 1."""
        return min(1.0, self.spent / self.amount) if self.amount else 1.0

    def __str__(self) -> str:
        return f"{shown_amount(self.spent)} of {shown_budget(self.budget)}"

    @property
    def budget(self) -> Budget:
        """The budget alone."""
        return Budget(self.unit, self.amount)


def shown_amount(amount: float) -> str:
    """Return an amount of any unit: `1200`, `7.25`, `0.0031`."""
    return f"{amount:.15g}" if amount == int(amount) else f"{amount:.3g}"


def shown_budget(budget: Budget) -> str:
    """Return a budget in words; its hours are those of workers, not of a clock."""
    return counted(budget.amount, budget.unit).replace("hour", "worker-hour")


def describe_budget(protocol: Protocol) -> str:
    """Return the budget of a study with the length of a trial: `60 trials of 20 epochs`."""
    n_epochs, limit = protocol.configuration["search"]["n_epochs"], protocol.limit
    if limit.unit == "trials":
        return f"{limit} of {n_epochs} epochs"
    return f"{shown_budget(limit)}, trials of at most {n_epochs} epochs"


def read_spending(protocol: Protocol, totals: Sequence[Totals]) -> Spending:
    """Return what a study has spent.

    Args:
        protocol: Of the study.
        totals: Of all its trials.
    """
    limit, own = protocol.limit, [one for one in totals if not one.is_imported]
    n_epochs = sum(one.n_epochs for one in own)
    if limit.unit == "trials":
        n_over = sum(one.n_trials for one in own if one.state.is_finished())
        return Spending("trials", limit.amount, n_over, is_spent=n_over >= limit.amount)
    if limit.unit == "hours":
        hours = sum(one.seconds for one in own) / SECONDS_PER_HOUR
        return Spending("hours", limit.amount, hours, is_spent=hours >= limit.amount)
    whole = int(protocol.configuration["search"]["n_epochs"])  # what a fresh trial must find left
    return Spending("epochs", limit.amount, n_epochs, is_spent=n_epochs + whole > limit.amount)
