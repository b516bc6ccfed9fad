"""A study as this service sees it: without the trials of other programs.

Optuna's own tools may add trials to any study. One that waits is adopted (`storage/adoption.py`).
One that runs or has a result stays foreign: nobody knows what it trained, so that sampler, pruner
and every view do without it.
"""

import copy
from collections.abc import Container, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from storage.optuna_rows import BEST_EPOCH, PAUSED, SLOT
from storage.records import IMPORTED_FROM, no_such_study
from storage.study_storage import StudyStorage


def own_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return those of all trials of a study that are slots of its queue, or imported by a fork.

    Of several with the same slot, only the first is one: the others are copies of it. A slot with
    a result that no worker of ours has reported is none either: `optuna ask` claims what waits.
    """
    first: dict[int, int] = {}
    for trial in trials:
        if SLOT in trial.user_attrs and not _is_told(trial):
            first.setdefault(trial.user_attrs[SLOT], trial.number)
    return [
        trial
        for trial in trials
        if first.get(trial.user_attrs.get(SLOT, -1)) == trial.number
        or (IMPORTED_FROM in trial.user_attrs and trial.state.is_finished())
    ]


def _is_told(trial: FrozenTrial) -> bool:
    """Return whether another program has given a trial its result, be it while it was paused."""
    is_ours = BEST_EPOCH in trial.user_attrs and PAUSED not in trial.user_attrs
    return trial.state == TrialState.COMPLETE and not is_ours


def as_pruned(trial: FrozenTrial) -> FrozenTrial:
    """Return a paused trial as a pruned one, any other as it is."""
    if trial.state != TrialState.WAITING or PAUSED not in trial.user_attrs:
        return trial
    pruned = copy.copy(trial)
    pruned.state = TrialState.PRUNED
    return pruned


class OwnStudy(optuna.Study):
    """Optuna's view of a study, from which foreign trials are left out."""

    # Samplers call this private method, and `get_trials` does.
    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        found = own_trials(super()._get_trials(deepcopy, use_cache=use_cache))
        seen = [self._as_seen(trial) for trial in found]
        return [trial for trial in seen if states is None or trial.state in states]

    def _as_seen(self, trial: FrozenTrial) -> FrozenTrial:
        return trial


class SampledStudy(OwnStudy):
    """The same as samplers and pruners see it: a paused trial as a pruned one.

    Optuna would pass over a trial that waits, and what it has shown would be lost to the search:
    `benchmarks/search_efficiency.py` measures it as the policy "promotion, paused hidden".
    """

    def _as_seen(self, trial: FrozenTrial) -> FrozenTrial:
        return as_pruned(trial)


def open_study(handle: StudyStorage, name: str) -> OwnStudy:
    """Return a study without its foreign trials.

    Raises:
        StudyNotFoundError: If the database has no study of that name.
    """
    try:
        return OwnStudy(name, handle)
    except KeyError:
        raise no_such_study(handle.database, name) from None
