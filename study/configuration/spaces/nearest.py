"""The point of a space that is nearest to the configured values: what a study tries first.

Must not import optuna.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from model.configuration import MOST_STAGES
from study.configuration.dotted_keys import value_at
from study.configuration.search_space import (
    Choice,
    Range,
    Searched,
    as_choice,
    read_searched,
    suggest,
)

if TYPE_CHECKING:
    from study.configuration.config import StudyConfig

MEANING_OF_NONE = {"optimization.gradient_clip_norm": math.inf, "optimization.ema_decay": 0.0}
"""The number that a setting without a value comes nearest to."""


class NearestTrial:
    """Answers with given values, and else with the nearest ones to the configuration.

    Attributes:
        params: What it has answered, by Optuna's name.
    """

    def __init__(self, config: "StudyConfig", picked: Mapping[str, Any] | None = None) -> None:
        self._picked = picked or {}
        self._configured = _configured_params(config)
        self.params: dict[str, Any] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Answer with a real number."""
        self.params[name] = float(self._within(name, low, high))
        return float(self.params[name])

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Answer with a whole number."""
        self.params[name] = int(self._within(name, low, high))
        return int(self.params[name])

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        """Answer with one of the choices."""
        configured = self._configured[name]
        if name in self._picked:
            found: Choice = self._picked[name]
        elif configured in choices:
            found = configured
        else:
            found = min(choices, key=lambda choice: _distance(choice, configured))
        self.params[name] = found
        return found

    def _within(self, name: str, low: float, high: float) -> float:
        value: float = self._picked.get(name, self._configured[name])
        return min(max(value, low), high)


def _distance(choice: Choice, configured: Choice) -> float:
    """Return how far numbers are apart; all that are none lie equally far."""
    both = (choice, configured)
    numbers = [one for one in both if isinstance(one, int | float)]
    return abs(numbers[0] - numbers[1]) if len(numbers) == len(both) else math.inf


def _configured_params(config: "StudyConfig") -> dict[str, Any]:
    """Return the configured value of every parameter that a trial may be asked for."""
    found: dict[str, Any] = {}
    for one in read_searched(config.search):
        value = value_at(config, one.setting)
        for stage, name in enumerate(one.names(MOST_STAGES)):
            if one.is_per_stage:
                found[name] = value[min(stage, len(value) - 1)]
            elif isinstance(one.within, Range) and value is None:
                found[name] = MEANING_OF_NONE.get(one.setting, 0.0)
            else:
                found[name] = value if isinstance(one.within, Range) else as_choice(value)
    return found


def picks(one: Searched) -> list[tuple[str, dict[str, Any]]]:
    """Return the ends of a range, or the choices: each in words, with its values by name."""
    names = one.names(MOST_STAGES)
    if isinstance(one.within, Range):
        ends = dict.fromkeys((one.within.low, one.within.high))
        return [(f"{end:g}", dict.fromkeys(names, end)) for end in ends]
    return [(str(choice).lower(), {one.name: choice}) for choice in one.within]


def conditions_of(one: Searched, config: "StudyConfig") -> dict[str, Any] | None:
    """Return values by name under which a setting is drawn, those of what it depends on too."""
    found: dict[str, Any] = {}
    by_setting: dict[str, list[Searched]] = {}
    for other in read_searched(config.search):
        by_setting.setdefault(other.setting, []).append(other)
    waiting = [one]
    while waiting:
        for key, values in waiting.pop().when.items():
            above = [
                (other, value)
                for other in by_setting.get(key, [])
                for value in values
                if not isinstance(other.within, Range) and value in other.within
            ]
            if not above:
                return None
            other, value = above[0]
            if found.setdefault(other.name, value) not in values:
                return None
            waiting.append(other)
    return found


def nearest_params(config: "StudyConfig") -> dict[str, Any]:
    """Return the point of a study's space that is nearest to its configured values."""
    trial = NearestTrial(config)
    suggest(trial, config)
    return trial.params


def moved_settings(config: "StudyConfig") -> list[str]:
    """Return what is nearest where a configured value lies outside its range, each in words."""
    trial = NearestTrial(config)
    found = suggest(trial, config)
    return [
        f"{key} {_shown(value)} for {_shown(value_at(config, key))}"
        for key, value in found.items()
        if as_choice(value) != as_choice(value_at(config, key))
    ]


def _shown(value: Any) -> str:
    choice = as_choice(value)
    return (
        "none" if choice is None else f"{choice:g}" if isinstance(choice, float) else str(choice)
    )
