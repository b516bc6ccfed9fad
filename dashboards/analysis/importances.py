"""Which hyperparameters set the best trials apart (PED-ANOVA), or why that is unknown.

Must not import torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from dashboards.analysis.search_space import Hyperparameter
from storage.own_study import open_study
from storage.study_storage import StudyStorage

TOP_SHARE = 0.1
# Source: Optuna's notes on PED-ANOVA advise at least 5 trials in the best part.
FEWEST_BEST = 5
FEWEST_TRIALS = 2 * FEWEST_BEST


@dataclass(frozen=True)
class Importances:
    """Importance of each hyperparameter, or why there is none.

    Attributes:
        shares: Of each hyperparameter by name, the greatest first; they sum to 1. Empty where
            there is none.
        n_trials: Number of complete trials.
        n_best: How many of them count as the best ones.
        why_none: The reason where there is none, else empty.
    """

    shares: Mapping[str, float]
    n_trials: int
    n_best: int = 0
    why_none: str = ""


def read_importances(
    storage: StudyStorage, study_name: str, space: Sequence[Hyperparameter], *, is_given: bool
) -> Importances:
    """Return how much each hyperparameter sets the best complete trials apart from all complete.

    Args:
        storage: The database.
        study_name: The study.
        space: Its hyperparameters.
        is_given: Whether the study has given points.

    Raises:
        StudyNotFoundError: If the database has no study of that name.
    """
    optuna_study = open_study(storage, study_name)
    complete = optuna_study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    values = [trial.value for trial in complete if trial.value is not None]
    n_trials = len(values)
    why_none = _why_none(values, space, is_given=is_given)
    if why_none:
        return Importances({}, n_trials, why_none=why_none)
    # Half a trial less than the share, which rounding up restores.
    quantile = (_n_best(n_trials) - 0.5) / n_trials
    shares = get_param_importances(
        optuna_study, evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile)
    )
    if len(set(shares.values())) == 1:  # what Optuna makes of importances that are all zero
        why = "nothing sets the best complete trials apart from all complete trials"
        return Importances({}, n_trials, why_none=why)
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return Importances(ordered, n_trials, n_best=_count_best(values))


def _n_best(n_trials: int) -> int:
    return max(FEWEST_BEST, math.ceil(TOP_SHARE * n_trials))


def _count_best(values: Sequence[float]) -> int:
    """Return how many trials are as good as the last that counts as one of the best."""
    threshold = sorted(values, reverse=True)[_n_best(len(values)) - 1]
    return sum(value >= threshold for value in values)


def _why_none(values: Sequence[float], space: Sequence[Hyperparameter], *, is_given: bool) -> str:
    if is_given:
        return (
            "the points were given, not sampled, so shares would only say which points were chosen"
        )
    if not space:
        return "no trial has sampled a hyperparameter"
    if len(space) == 1:
        return f"{space[0].label} is the only hyperparameter"
    if len(values) < FEWEST_TRIALS:
        return (
            f"at least {FEWEST_TRIALS} complete trials are needed, there "
            f"{'is 1' if len(values) == 1 else f'are {len(values)}'}; pruned ones do not count, "
            "for they have no value to be ranked by"
        )
    if len(set(values)) == 1:
        return "all complete trials have the same value"
    if _count_best(values) == len(values):
        return "too many complete trials share one value to tell a best part from the rest"
    return ""
