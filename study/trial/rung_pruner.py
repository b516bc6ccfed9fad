"""Prunes the worse half at a few rungs: epochs at which all trials are compared that reach them.

The verdict follows from stored values alone, so that a worker that dies before it acts on one
leaves nothing behind. Optuna's successive halving notes with the trial that it has passed a rung
before it judges it; whoever resumes the trial then skips that rung.
"""

import math
from collections.abc import Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from storage.promotion import rung_epochs
from study.configuration.config import StudyConfig

LEAST_TRIALS = 4
"""Fewer trials at a rung say too little of any of them."""
WITH_RUNGS = ("rungs", "promotion")
"""Pruners that have rungs."""


class RungPruner(BasePruner):
    """Prunes a trial in the worse half of all trials that reached a rung, at least four of them.

    They are compared by their best value up to the rung. Whether they still run, are complete or
    were pruned there makes no difference; a tie keeps both.

    Args:
        epochs: Epochs of the rungs, as reported steps.
    """

    def __init__(self, epochs: Sequence[int]) -> None:
        self._epochs = frozenset(epochs)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Judges a trial by its last epoch.

        Args:
            study: The study; values are maximised.
            trial: One of its trials.
        """
        rung = trial.last_step
        if rung not in self._epochs:
            return False
        trials = study.get_trials(deepcopy=False)
        reached = [best_until(one, rung) for one in trials if rung in one.intermediate_values]
        n_better = sum(value > best_until(trial, rung) for value in reached)
        return len(reached) >= LEAST_TRIALS and n_better >= math.ceil(len(reached) / 2)


def best_until(trial: FrozenTrial, epoch: int) -> float:
    """Returns the best value that a trial reported until an epoch.

    Args:
        trial: A trial that reported one.
        epoch: The last epoch that counts.
    """
    return max(value for step, value in trial.intermediate_values.items() if step <= epoch)


def rungs_of(config: StudyConfig) -> list[int]:
    """Return the epochs of the rungs of a study, in order; none with a pruner that has none."""
    if config.search.pruner not in WITH_RUNGS:
        return []
    return rung_epochs(
        config.search.rungs,
        n_epochs=config.search.n_epochs,
        warmup_epochs=config.optimization.warmup_epochs,
    )


def find_missing_rungs(config: StudyConfig) -> str | None:
    """Return a caution where every rung would lie within the warm-up, else None."""
    search, warmup = config.search, config.optimization.warmup_epochs
    if search.pruner not in WITH_RUNGS or rungs_of(config):
        return None
    remedy = "set a larger search.n_epochs, or search.pruner=none"
    if search.n_epochs > 1:
        remedy = f"set optimization.warmup_epochs below {search.n_epochs - 1}, or {remedy[4:]}"
    return (
        f"caution: search.rungs never apply, for a rung lies after the warm-up, {warmup:g} of "
        f"{search.n_epochs} epochs, and before the last epoch: {remedy}"
    )
