"""How much a study may spend, in one of three units. Must import nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Unit = Literal["trials", "epochs", "hours"]
SECONDS_PER_HOUR = 3600.0
UNITS: tuple[Unit, ...] = get_args(Unit)


@dataclass(frozen=True)
class Budget:
    """How much a study may spend.

    Attributes:
        unit: Trials, epochs of all trials together, or hours of training and validation of all
            workers together.
        amount: How many of them; whole but for hours.
    """

    unit: Unit
    amount: float

    @classmethod
    def of(cls, n_slots: int, facts: Mapping[str, Any]) -> "Budget":
        """Return the budget of a study by its number of slots and the facts of its protocol."""
        stored = facts.get("budget")
        return cls("trials", n_slots) if stored is None else cls(**stored)

    def __str__(self) -> str:
        return counted(self.amount, self.unit)

    def as_json(self) -> dict[str, Any]:
        """Return the budget as JSON values."""
        return {"unit": self.unit, "amount": self.amount}


def counted(amount: float, unit: Unit) -> str:
    """Return an amount in words, such as `1 trial` or `7.5 hours`."""
    return f"{amount:.15g} {unit.removesuffix('s') if amount == 1 else unit}"
