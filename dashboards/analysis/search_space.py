"""The search space of a study: each hyperparameter with its range and scale.

Read from the distributions that Optuna keeps with every trial that has begun. Must not import
torch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from dashboards.formatting import setting_name, shown_value
from storage.own_study import open_study
from storage.study_storage import StudyStorage
from storage.trial_rows import TrialRow


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter and where its values lie.

    Attributes:
        name: Optuna's name of it.
        low: Lowest value of a range, nan for choices.
        high: Highest value, likewise.
        is_log: Whether the range is logarithmic.
        is_integer: Whether its values are whole numbers.
        choices: What it was chosen from, as short texts; empty for a range.
    """

    name: str
    low: float
    high: float
    is_log: bool = False
    is_integer: bool = False
    choices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What people call it."""
        return setting_name(self.name)

    @property
    def range_text(self) -> str:
        """Its values in words: `0.001 to 1`, the choices, or the one value that it has."""
        if self.choices:
            return ", ".join(self.choices)
        if self.low == self.high:
            return shown_value(self.low)
        return f"{shown_value(self.low)} to {shown_value(self.high)}"

    @property
    def scale(self) -> str:
        """How values lie in it: logarithmic, linear, whole numbers, or choices."""
        if self.choices:
            return "choices"
        if self.is_integer:
            return "whole numbers, logarithmic" if self.is_log else "whole numbers"
        return "logarithmic" if self.is_log else "linear"

    def position(self, value: Any) -> float:
        """Return where a value lies on an axis: itself, or the number of its choice."""
        return self.choices.index(shown_value(value)) if self.choices else float(value)


def read_space(storage: StudyStorage, study_name: str) -> list[Hyperparameter]:
    """Return the hyperparameters of all trials that have begun, in the order of the first.

    Where trials had different ranges, the range is that from the lowest to the highest.

    Raises:
        StudyNotFoundError: If the database has no study of that name.
    """
    optuna_study = open_study(storage, study_name)
    trials = optuna_study.get_trials(deepcopy=False)
    return merge_spaces(trial.distributions for trial in trials)


def merge_spaces(distributions: Iterable[dict[str, BaseDistribution]]) -> list[Hyperparameter]:
    """Return the hyperparameters that sets of distributions describe together."""
    known: dict[tuple[str, BaseDistribution], None] = {}
    for of_trial in distributions:
        known |= dict.fromkeys(of_trial.items())
    space: dict[str, Hyperparameter] = {}
    for name, distribution in known:
        new = _hyperparameter(name, distribution)
        space[name] = _both(space[name], new) if name in space else new
    return list(space.values())


def _hyperparameter(name: str, distribution: BaseDistribution) -> Hyperparameter:
    match distribution:
        case CategoricalDistribution():
            return Hyperparameter(
                name, float("nan"), float("nan"), choices=_in_order(distribution.choices)
            )
        case IntDistribution() | FloatDistribution():
            whole = isinstance(distribution, IntDistribution)
            low, high = distribution.low, distribution.high
            return Hyperparameter(name, low, high, is_log=distribution.log, is_integer=whole)
    raise TypeError(f"distribution must be one of Optuna's three, got {distribution!r}")


def _in_order(choices: Sequence[Any]) -> tuple[str, ...]:
    """Return choices as short texts, numbers in order."""
    numbers = all(type(choice) in (int, float) for choice in choices)
    ordered = sorted(choices) if numbers else choices
    return tuple(dict.fromkeys(map(shown_value, ordered)))


def _both(one: Hyperparameter, other: Hyperparameter) -> Hyperparameter:
    choices = tuple(dict.fromkeys((*one.choices, *other.choices)))
    low, high = min(one.low, other.low), max(one.high, other.high)
    return replace(one, low=low, high=high, choices=choices, is_log=one.is_log and other.is_log)


def choose_varied(
    space: Sequence[Hyperparameter], rows: Sequence[TrialRow]
) -> list[Hyperparameter]:
    """Return the hyperparameters that have at least two values among the rows."""
    return [
        one
        for one in space
        if len({row.params[one.name] for row in rows if one.name in row.params}) > 1
    ]
