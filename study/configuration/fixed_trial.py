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
from study.configuration.search_space import Choice, Hyperparameters, suggest


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

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Answer with the given value.

        Raises:
            OutOfRangeError: If there is none within the range.
        """
        return int(self._answer(name, IntDistribution(low, high)))

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


def point_in(config: StudyConfig, hyperparameters: Hyperparameters) -> FixedTrial:
    """Return hyperparameters as a point of a study's space.

    Raises:
        OutOfRangeError: If one lies outside its range, or differs from the configured value where
            the space leaves it out.
    """
    point = FixedTrial(hyperparameters.as_params())
    if params_of(point, config) != hyperparameters:
        raise OutOfRangeError("what the space leaves out")
    return point


def params_of(point: FixedTrial, config: StudyConfig) -> Hyperparameters:
    """Return the hyperparameters of given values, and the configured ones beside them."""
    space, ranges = config.search.space, config.search.ranges
    return suggest(point, space, ranges, network=config.network, optimization=config.optimization)
