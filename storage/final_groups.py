"""Which final runs belong together: one command queued them, and one test evaluates all of them.

Each run notes its group, its role and its seed before it trains. Those of earlier versions note
none of it: each of them is a group of its own.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from storage.trial_rows import TrialRow

GROUP = "final_group"
"""User attribute of a final run: the fields of its `FinalGroup`."""
ROLE = "role"
"""User attribute of a final run: whose configuration it trains."""
SEARCHED_TRIAL = "searched_trial"
"""User attribute of a final run: number of the trial it repeats; -1 where there is none."""
TEST_REASON = "test_reason"
"""User attribute of a final run: why it may see the test split."""
WINNER: Final = "winner"
CONTROL: Final = "control"


@dataclass(frozen=True)
class FinalGroup:
    """Final runs that were queued together.

    Attributes:
        first_slot: Position of the first of them in the queue, which tells groups apart.
        seeds: Runs of each configuration.
        with_control: Whether the configured values are trained beside the winner.
    """

    first_slot: int
    seeds: int = 1
    with_control: bool = False

    @classmethod
    def of(cls, slot: int, attributes: Mapping[str, Any]) -> "FinalGroup":
        """Return the group of the run of a slot."""
        return cls(**attributes[GROUP]) if GROUP in attributes else cls(slot)

    @property
    def roles(self) -> list[str]:
        """The role of each run, in the order of their slots."""
        both = (WINNER, CONTROL) if self.with_control else (WINNER,)
        return [role for role in both for _ in range(self.seeds)]

    def missing(self, roles: Iterable[str]) -> list[str]:
        """Return the roles for which there are fewer runs than there must be.

        Args:
            roles: Of the runs that have not failed.
        """
        left = Counter(self.roles) - Counter(roles)
        return [role for role in (WINNER, CONTROL) for _ in range(left[role])]

    def attributes(self, role: str, *, seed: int) -> dict[str, Any]:
        """Return what a run of this group notes of itself."""
        return {GROUP: asdict(self), ROLE: role, "seed": seed}


def role_of(attributes: Mapping[str, Any]) -> str:
    """Return the role of a final run."""
    return str(attributes.get(ROLE, WINNER))


def group_of(row: TrialRow) -> FinalGroup:
    """Return the group of a final run."""
    return FinalGroup.of(row.number if row.slot is None else row.slot, row.attributes)


def first_runs(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the run of each group whose model is the study's, the newest group last.

    It is the first named seed of the winner, whatever the others scored; where that one failed,
    the first that did not.
    """
    found: dict[FinalGroup, TrialRow] = {}
    for row in sorted(rows, key=lambda row: (row.slot is None, row.slot)):
        group, has_failed = group_of(row), row.state in ("failed", "pruned")
        if role_of(row.attributes) != WINNER:
            continue
        if group not in found or (found[group].state in ("failed", "pruned") and not has_failed):
            found[group] = row
    return sorted(found.values(), key=lambda row: group_of(row).first_slot)
