"""One finding of `study doctor`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One problem that a crash left.

    Attributes:
        where: Study, trial or folder.
        what: What is wrong there.
        remedy: What a repair does, as a participle; or why nothing is done.
        repair: Does it, and returns False where there was nothing to do any more. None where it
            may belong to others, so that it is only reported.
    """

    where: str
    what: str
    remedy: str
    repair: Callable[[], bool] | None = None

    def treat(self, *, repair: bool) -> "FindingOutcome":
        """Repair it, if that is wanted and ours to do."""
        if self.repair is None:
            return FindingOutcome(self, "told")
        if not repair:
            return FindingOutcome(self, "found")
        return FindingOutcome(self, "repaired" if self.repair() else "gone")


@dataclass(frozen=True)
class FindingOutcome:
    """A finding and what became of it.

    Attributes:
        outcome: Only reported; found and not repaired; repaired; or gone before it could be.
    """

    finding: Finding
    outcome: Literal["told", "found", "repaired", "gone"]

    @property
    def line(self) -> str:
        """The finding in one line, for people."""
        remedy = self.finding.remedy
        done = {"found": f"would be {remedy}", "gone": "is gone meanwhile"}
        return f"{self.finding.where}: {self.finding.what}: {done.get(self.outcome, remedy)}"

    def as_json(self) -> dict[str, str]:
        """Return the same as JSON values."""
        found = self.finding
        return {
            "where": found.where,
            "what": found.what,
            "remedy": found.remedy,
            "outcome": self.outcome,
        }


def count(n: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
