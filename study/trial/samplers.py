"""From configured names to Optuna's samplers and pruners."""

import warnings

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from model.seeds import derive_seed
from storage.optuna_rows import FIXED_PARAMS
from study.configuration.config import StudyConfig
from study.configuration.search_space import is_conditional
from study.configuration.sections import SearchConfig
from study.trial.rung_pruner import RungPruner, rungs_of


def build_sampler(search: SearchConfig, *, seed: int, number: int) -> BaseSampler:
    """Return the sampler of one claim.

    Args:
        search: Which sampler, and how many trials are drawn at random first.
        seed: The study's seed.
        number: The trial's number; seeding by it keeps workers from drawing the same points.
    """
    trial_seed = derive_seed(seed, "sampler", number)
    match search.sampler:
        case "tpe":
            return _tpe(search, trial_seed)
        case "gp":
            return GPSampler(n_startup_trials=search.n_startup_trials, seed=trial_seed)
        case "random":
            return RandomSampler(seed=trial_seed)


def _tpe(search: SearchConfig, seed: int) -> TPESampler:
    """Return TPE; where some trials have parameters that others have not, it groups them.

    Without groups it would draw each parameter that is missing in any finished trial on its own.
    """
    with warnings.catch_warnings():  # an argument that Optuna may still change
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(
            n_startup_trials=search.n_startup_trials,
            seed=seed,
            multivariate=True,
            group=is_conditional(search),
        )


def skip_draws(trial: optuna.Trial) -> None:
    """Bring a fresh sampler to the state that an earlier attempt at the trial left.

    That attempt died between two suggestions. What it drew is stored and not drawn again, so the
    draws must be made up for: the others are then those that it would have come to.
    """
    study = trial.study
    # Optuna's cache stores parameters of a trial only after it has listed the study's trials.
    trials = study.get_trials(deepcopy=False)
    frozen = next(one for one in trials if one.number == trial.number)
    given = frozen.system_attrs.get(FIXED_PARAMS, {})
    for name, distribution in trial.distributions.items():
        if not (name in trial.relative_params or name in given or distribution.single()):
            study.sampler.sample_independent(study, frozen, name, distribution)


def build_pruner(config: StudyConfig) -> BasePruner:
    """Return the pruner; steps are epochs, the first being 1.

    Percentile and median compare a trial's best epoch so far with complete trials at the same
    epoch, and only after the warm-up: trials anneal their learning rate, and what they reach early
    says little (weight decays cross late: rank correlation -0.4 between a quarter and the end).
    """
    search, warmup = config.search, config.search.pruner_warmup_epochs
    match search.pruner:
        case "percentile":
            return PercentilePruner(
                search.pruner_percentile,
                n_startup_trials=search.pruner_startup_trials,
                n_warmup_steps=warmup,
            )
        case "median":
            return MedianPruner(
                n_startup_trials=search.pruner_startup_trials, n_warmup_steps=warmup
            )
        case "halving":
            return SuccessiveHalvingPruner(
                min_resource=max(1, warmup), reduction_factor=2, bootstrap_count=0
            )
        case "rungs":
            return RungPruner(rungs_of(config))
        case "promotion" | "none" | "auto":  # trials pause as their queue decides
            return NopPruner()
