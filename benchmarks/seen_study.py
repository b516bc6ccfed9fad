"""A study as a sampler is to see it: paused and pruned trials in a state of another kind."""

import copy
from collections.abc import Callable, Container

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

View = Callable[[FrozenTrial], FrozenTrial]


class SeenStudy(optuna.Study):
    """Optuna's view of a study, each of its trials changed by a view.

    Args:
        name: Of the study.
        storage: Where it is.
        view: What makes of a trial what the sampler sees; it must leave the trial as it is.
    """

    def __init__(self, name: str, storage: BaseStorage, view: View) -> None:
        super().__init__(name, storage)
        self._view = view

    # Samplers call this private method.
    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        trials = super()._get_trials(deepcopy, use_cache=use_cache)
        seen = [self._view(trial) for trial in trials]
        return [trial for trial in seen if states is None or trial.state in states]


def show_as_stored(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial as it is: samplers pass by those that wait."""
    return trial


def show_as_pruned(trial: FrozenTrial) -> FrozenTrial:
    """Return a paused trial as a pruned one, and every other as it is."""
    return in_state(trial, TrialState.PRUNED) if trial.state == TrialState.WAITING else trial


def show_as_running(trial: FrozenTrial) -> FrozenTrial:
    """Return a paused trial as a running one, and every other as it is."""
    return in_state(trial, TrialState.RUNNING) if trial.state == TrialState.WAITING else trial


def show_last_values(trial: FrozenTrial) -> FrozenTrial:
    """Return a paused or pruned trial as complete with its last value, if it has one."""
    is_partial = trial.state in (TrialState.WAITING, TrialState.PRUNED)
    if not is_partial or trial.last_step is None:
        return trial
    complete = in_state(trial, TrialState.COMPLETE)
    complete.value = trial.intermediate_values[trial.last_step]
    return complete


def in_state(trial: FrozenTrial, state: TrialState) -> FrozenTrial:
    """Return a copy of a trial in another state."""
    other = copy.copy(trial)
    other.state = state
    return other
