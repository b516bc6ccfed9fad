"""Which trials of a study are the very same experiments in another one, and how they move there.

A trial is imported when its hyperparameters, those that the old space left out included, are a
point of the new space, and nothing else that decides its result differs.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from data.image_cache import PreparedData
from storage.records import IMPORTED_FROM, Protocol, copy_epochs
from storage.study_storage import StudyStorage
from study.configuration.config import StudyConfig, validated
from study.configuration.fixed_trial import FixedTrial, OutOfRangeError, point_in
from study.configuration.points import configured_by
from study.configuration.stored_settings import completed, frozen_part
from study.session.protocol import Difference, differences
from study.trial.samplers import build_pruner


@dataclass(frozen=True)
class WarmStart:
    """What a new study begins with, beside its queue.

    Attributes:
        trials: Finished trials to add, by the row number of the trial that was run; each has the
            user attribute `taken_over_from` and no slot in the queue.
        facts: More facts of the protocol.
    """

    trials: Mapping[int, FrozenTrial] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


ReadWarmStart = Callable[[StudyStorage, PreparedData], WarmStart]


def start_cold(_handle: StudyStorage, _prepared: PreparedData) -> WarmStart:
    """Begin with the queue alone."""
    return WarmStart()


def add_imported(handle: StudyStorage, optuna_study: optuna.Study, warm_start: WarmStart) -> None:
    """Add the trials to a new study, with their epochs; the caller holds the init lock."""
    row_of_origin = {}
    for origin, trial in warm_start.trials.items():
        row_of_origin[origin] = handle.create_new_trial(optuna_study._study_id, trial)
    copy_epochs(handle.database, row_of_origin)


def other_experiment(old: StudyConfig, new: StudyConfig) -> list[Difference]:
    """Return the settings that make every trial of one study another experiment in the other.

    What either of them searches is left to the comparison of each trial.
    """
    searched = {*old.search.searched, *new.search.searched}
    found = differences(_experiment(old), _experiment(new))
    return [one for one in found if one.key not in searched]


def _experiment(config: StudyConfig) -> dict[str, Any]:
    """Return what decides a trial of a configuration, whatever else the study searches."""
    length = config.search.model_dump(include={"n_epochs", "patience_epochs"})
    return frozen_part(config) | {"search": length}


def select_importable(
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
            experiment, _ = configured_by(FixedTrial(trial.params), old)
            point = point_in(new, experiment)
        except OutOfRangeError:
            continue
        rows[trial._trial_id] = _as_row(trial, point, origin.study_name, new)
    return rows


def _as_row(
    trial: FrozenTrial, point: FixedTrial, study_name: str, new: StudyConfig
) -> FrozenTrial:
    """Return a copy of a trial with the new ranges: TPE learns from equal ranges only."""
    row = deepcopy(trial)
    row.params, row.distributions = point.params, point.distributions
    first = trial.user_attrs.get(IMPORTED_FROM, {"study": study_name, "trial": trial.number})
    noted = {key: value for key, value in trial.user_attrs.items() if key != "slot"}
    row.user_attrs = noted | {IMPORTED_FROM: first}
    row.system_attrs = _pruner_notes(trial, new)
    return row


def _pruner_notes(trial: FrozenTrial, new: StudyConfig) -> dict[str, Any]:
    """Return what the new study's pruner would have noted of a trial: halving keeps its rungs."""
    replayed = optuna.create_study(direction="maximize", pruner=build_pruner(new))
    live = replayed.ask()
    for step in sorted(trial.intermediate_values):
        live.report(trial.intermediate_values[step], step)
        live.should_prune()
    return dict(replayed.trials[0].system_attrs)
