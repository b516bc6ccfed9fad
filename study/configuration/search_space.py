"""What a trial is asked for: the searched settings, and the names that Optuna knows them by.

What may be searched, and the named spaces, are in `spaces/`. Must not import optuna: a trial only
suggests values.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from study.configuration.dotted_keys import value_at
from study.configuration.spaces.settings import PER_STAGE, WIDTHS, number_type

if TYPE_CHECKING:
    from study.configuration.config import StudyConfig
    from study.configuration.sections import SearchConfig

Choice = bool | int | float | str | None
SHORT = "short"
"""What `search.param_names` is in studies of versions that searched four settings only."""


@dataclass(frozen=True)
class Range:
    """A range of numbers, both ends included; equal ends fix the value."""

    low: float
    high: float
    log: bool

    def part_between(self, one: float, other: float) -> float:
        """Return how far two values are apart, as a part of the range on its own scale."""
        ends = (self.low, self.high, one, other)
        low, high, first, second = map(math.log, ends) if self.log else ends
        return abs(first - second) / (high - low) if high > low else 0.0


@dataclass(frozen=True)
class Searched:
    """A setting that trials draw, or one of several ranges of it.

    Attributes:
        setting: Its dotted key.
        within: The range, or the choices by what Optuna keeps for them.
        when: The values of other settings under which it is drawn, by dotted key; empty: always.
        name: What Optuna calls it; where each stage has a value, what these names are made of.
        is_whole: Whether its values are whole numbers.
    """

    setting: str
    within: Range | Mapping[Choice, Any]
    when: Mapping[str, tuple[Choice, ...]]
    name: str
    is_whole: bool

    @property
    def is_per_stage(self) -> bool:
        """Whether every stage of the network draws its own number."""
        return self.setting == PER_STAGE and isinstance(self.within, Range)

    def names(self, n_stages: int) -> list[str]:
        """Return the names of Optuna's parameters: one, or one for each stage."""
        if not self.is_per_stage:
            return [self.name]
        setting, colon, case = self.name.partition(":")
        joint = "." if "." in setting else "_"
        return [f"{setting}{joint}{stage}{colon}{case}" for stage in range(1, n_stages + 1)]

    def ask(self, trial: "TrialLike", n_stages: int) -> Any:
        """Ask a trial for the value."""
        if not isinstance(self.within, Range):
            return self.within[trial.suggest_categorical(self.name, list(self.within))]
        numbers = [self._number(trial, name, self.within) for name in self.names(n_stages)]
        return tuple(numbers) if self.is_per_stage else numbers[0]

    def _number(self, trial: "TrialLike", name: str, within: Range) -> float:
        if self.is_whole:
            return trial.suggest_int(name, int(within.low), int(within.high), log=within.log)
        return trial.suggest_float(name, within.low, within.high, log=within.log)


class TrialLike(Protocol):
    """What is asked for values: Optuna's trial, or anything that answers like one."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Answer with a real number."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Answer with a whole number."""

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        """Answer with one of the choices."""


def as_choice(value: Any) -> Choice:
    """Return a setting as Optuna keeps it: a list as a text such as `3-3-3`."""
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else value


def read_searched(search: "SearchConfig") -> list[Searched]:
    """Return what the trials of a study are asked for, conditions before what depends on them."""
    found = [
        one for key, given in search.searched.items() for one in _read_setting(search, key, given)
    ]
    depths = {one.setting: 0 for one in found}
    for _ in depths:  # no chain of conditions is longer
        for one in found:
            above = [1 + depths[key] for key in one.when if key in depths]
            depths[one.setting] = max([depths[one.setting], *above])
    # Widths say how many stages there are.
    return sorted(found, key=lambda one: (depths[one.setting], one.setting != WIDTHS))


def _read_setting(search: "SearchConfig", key: str, given: Any) -> Iterator[Searched]:
    several = given if isinstance(given, list) else [given]
    short = search.param_names == SHORT
    for one in several:
        when = {
            parent: tuple(map(as_choice, values if isinstance(values, list) else [values]))
            for parent, values in one.get("when", {}).items()
        }
        case = "-".join(str(value).lower() for values in when.values() for value in values)
        name = key.rpartition(".")[2] if short else key
        yield Searched(
            key,
            {as_choice(value): value for value in one["choices"]}
            if "choices" in one
            else Range(one["low"], one["high"], one["log"]),
            when,
            f"{name}:{case}" if len(several) > 1 else name,
            number_type(key) is int,
        )


def suggest(trial: TrialLike, config: "StudyConfig") -> dict[str, Any]:
    """Ask a trial for the searched settings, by dotted key.

    A setting whose condition does not hold is left out: its configured value counts.

    Args:
        trial: Optuna's trial; one that is resumed answers with the values it had.
        config: Of the study.
    """
    settings: dict[str, Any] = {}
    for one in read_searched(config.search):
        if holds(one.when, settings, config):
            widths = settings.get(WIDTHS, config.network.widths)
            settings[one.setting] = one.ask(trial, len(widths))
    return settings


def holds(
    when: Mapping[str, tuple[Choice, ...]], settings: Mapping[str, Any], config: "StudyConfig"
) -> bool:
    """Return whether a condition holds for the settings of a trial and the configured ones."""
    return all(
        as_choice(settings[key] if key in settings else value_at(config, key)) in values
        for key, values in when.items()
    )


def is_conditional(search: "SearchConfig") -> bool:
    """Return whether some trials have parameters that others have not."""
    searched = read_searched(search)
    lengths = {
        len(value)
        for one in searched
        if one.setting == WIDTHS and not isinstance(one.within, Range)
        for value in one.within.values()
    }
    per_stage = any(one.is_per_stage for one in searched)
    return any(one.when for one in searched) or (per_stage and len(lengths) > 1)
