"""A trial whose values are given: they are validated against the space, and never sampled.

Optuna's own `FixedTrial` only warns of a value outside its range, and keeps no distributions of
what was asked. Must not import torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from study.configuration.config import StudyConfig
from study.configuration.dotted_keys import value_at
from study.configuration.points import configured_by
from study.configuration.search_space import Choice, Range, as_choice, read_searched
from study.configuration.spaces.settings import SEARCHABLE


class OutOfRangeError(Exception):
    """A point has no value for a parameter, or one outside its range."""


class FixedTrial:
    """Answers like a trial with given values, and keeps what it was asked for.

    Attributes:
        params: The values that were asked for, by name.
        distributions: Their ranges.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.params: dict[str, Any] = {}
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Answer with the given value.

        Raises:
            OutOfRangeError: If there is none within the range.
        """
        return float(self._answer(name, FloatDistribution(low, high, log=log)))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Answer with the given value.

        Raises:
            OutOfRangeError: If there is none within the range.
        """
        return int(self._answer(name, IntDistribution(low, high, log=log)))

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        """Answer with the given value.

        Raises:
            OutOfRangeError: If it is none of the choices.
        """
        if name not in self._values or self._values[name] not in choices:
            raise OutOfRangeError(name)
        self.params[name] = self._values[name]
        self.distributions[name] = CategoricalDistribution(choices)
        answer: Choice = self.params[name]
        return answer

    def _answer(self, name: str, within: FloatDistribution | IntDistribution) -> Any:
        if name not in self._values or not within.low <= self._values[name] <= within.high:
            raise OutOfRangeError(name)
        self.params[name] = self._values[name]
        self.distributions[name] = within
        return self._values[name]


def point_in(config: StudyConfig, experiment: StudyConfig) -> FixedTrial:
    """Return what a trial trained as a point of a study's space.

    Args:
        config: Of the study.
        experiment: Configuration of the trial, whatever study it is of.

    Raises:
        OutOfRangeError: If a setting lies outside its range, or differs from the configured value
            where the space leaves it out.
    """
    point = FixedTrial(_values_at(config, experiment))
    found, _ = configured_by(point, config)
    searchable = [(value_at(found, key), value_at(experiment, key), key) for key in SEARCHABLE]
    for value, wanted, key in searchable:
        if value != wanted:
            raise OutOfRangeError(key)
    return point


def _values_at(config: StudyConfig, experiment: StudyConfig) -> dict[str, Any]:
    """Return the values of an experiment by the names of a study's parameters."""
    values: dict[str, Any] = {}
    for one in read_searched(config.search):
        value = value_at(experiment, one.setting)
        if one.is_per_stage:
            values |= dict(zip(one.names(len(value)), value, strict=True))
        elif value is not None or not isinstance(one.within, Range):
            values[one.name] = as_choice(value)
    return values
