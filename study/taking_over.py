"""Which trials of a study are the very same experiments in another one, and how they move there.

A trial is taken over when its hyperparameters, those that the old space left out included, are a
point of the new space, and nothing else that decides its result differs.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from data.image_cache import PreparedData
from storage.records import TAKEN_OVER_FROM, Protocol, copy_epochs
from storage.study_storage import StudyStorage
from study.config import StudyConfig, validated
from study.frozen_settings import completed, frozen_part
from study.protocol import Difference, differences
from study.sampling import build_pruner
from study.search_space import Choice, Hyperparameters, suggest


@dataclass(frozen=True)
class Inheritance:
    """What a new study begins with, beside its queue.

    Attributes:
        trials: Finished trials to add, by the row number of the trial that was run; each has the
            user attribute `taken_over_from` and no place in the queue.
        facts: More facts of the protocol.
    """

    trials: Mapping[int, FrozenTrial] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


Inherit = Callable[[StudyStorage, PreparedData], Inheritance]


def inherit_nothing(_handle: StudyStorage, _prepared: PreparedData) -> Inheritance:
    """Begin with the queue alone."""
    return Inheritance()


def add_inherited(
    handle: StudyStorage, optuna_study: optuna.Study, inherited: Inheritance
) -> None:
    """Add the trials to a new study, with their epochs; the caller holds the init lock."""
    row_of_origin = {}
    for origin, trial in inherited.trials.items():
        row_of_origin[origin] = handle.create_new_trial(optuna_study._study_id, trial)
    copy_epochs(handle.database, row_of_origin)


class OutsideError(Exception):
    """A point has no value for a parameter, or one outside its range."""


class GivenPoint:
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
            OutsideError: If there is none within the range.
        """
        return float(self._answer(name, FloatDistribution(low, high, log=log)))

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Answer with the given value.

        Raises:
            OutsideError: If there is none within the range.
        """
        return int(self._answer(name, IntDistribution(low, high)))

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        """Answer with the given value.

        Raises:
            OutsideError: If it is none of the choices.
        """
        if name not in self._values or self._values[name] not in choices:
            raise OutsideError(name)
        self.params[name] = self._values[name]
        self.distributions[name] = CategoricalDistribution(choices)
        answer: Choice = self.params[name]
        return answer

    def _answer(self, name: str, within: FloatDistribution | IntDistribution) -> Any:
        if name not in self._values or not within.low <= self._values[name] <= within.high:
            raise OutsideError(name)
        self.params[name] = self._values[name]
        self.distributions[name] = within
        return self._values[name]


def point_in(config: StudyConfig, hyperparameters: Hyperparameters) -> GivenPoint:
    """Return hyperparameters as a point of a study's space.

    Raises:
        OutsideError: If one lies outside its range, or differs from the configured value where
            the space leaves it out.
    """
    point = GivenPoint(hyperparameters.as_params())
    if _asked(point, config) != hyperparameters:
        raise OutsideError("what the space leaves out")
    return point


def _asked(point: GivenPoint, config: StudyConfig) -> Hyperparameters:
    space, ranges = config.search.space, config.search.ranges
    return suggest(point, space, ranges, network=config.network, optimization=config.optimization)


def other_experiment(old: StudyConfig, new: StudyConfig) -> list[Difference]:
    """Return the settings that make a trial of the same hyperparameters another experiment."""
    fixed = old.model_copy(update={"search": old.search.model_copy(update={"space": "fixed"})})
    hyperparameters = _asked(GivenPoint({}), fixed)

    def experiment(config: StudyConfig) -> dict[str, Any]:
        network, optimization = hyperparameters.applied_to(config.network, config.optimization)
        same = {"network": network, "optimization": optimization}
        settings = frozen_part(config.model_copy(update=same))
        length = config.search.model_dump(include={"n_epochs", "patience_epochs"})
        return settings | {"search": length}

    return differences(experiment(old), experiment(new))


def take_over(
    trials: Sequence[FrozenTrial], origin: Protocol, new: StudyConfig
) -> dict[int, FrozenTrial]:
    """Return those trials that are points of a new study's space, as rows of it.

    Args:
        trials: Finished trials of the study that is forked.
        origin: Its protocol.
        new: Configuration of the new study.

    Returns:
        The rows, by the row number of the trial that was run.
    """
    old = validated(completed(origin.configuration))
    rows = {}
    for trial in trials:
        try:
            point = point_in(new, _asked(GivenPoint(trial.params), old))
        except OutsideError:
            continue
        rows[trial._trial_id] = _as_row(trial, point, origin.study_name, new)
    return rows


def _as_row(
    trial: FrozenTrial, point: GivenPoint, study_name: str, new: StudyConfig
) -> FrozenTrial:
    """Return a copy of a trial with the new ranges: TPE learns from equal ranges only."""
    row = deepcopy(trial)
    row.params, row.distributions = point.params, point.distributions
    first = trial.user_attrs.get(TAKEN_OVER_FROM, {"study": study_name, "trial": trial.number})
    noted = {key: value for key, value in trial.user_attrs.items() if key != "slot"}
    row.user_attrs = noted | {TAKEN_OVER_FROM: first}
    row.system_attrs = _pruner_notes(trial, new)
    return row


def _pruner_notes(trial: FrozenTrial, new: StudyConfig) -> dict[str, Any]:
    """Return what the new study's pruner would have noted of a trial: halving keeps its rungs."""
    replayed = optuna.create_study(direction="maximize", pruner=build_pruner(new.search))
    live = replayed.ask()
    for step in sorted(trial.intermediate_values):
        live.report(trial.intermediate_values[step], step)
        live.should_prune()
    return dict(replayed.trials[0].system_attrs)
