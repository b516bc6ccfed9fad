"""Made-up searches, each of which shows one or two things that a diagnosis says."""

import itertools
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from tests.tools.made_up_searches import DECAY, DROPOUT, RATE, STAGES, MadeUpSearch, MadeUpTrial


def draw_params(number: int) -> dict[str, Any]:
    """Return values of the whole space that follow from the number of a trial."""
    draw = random.Random(number)
    return {
        RATE: 10 ** draw.uniform(-3, 0),
        DECAY: 10 ** draw.uniform(-6, -2),
        DROPOUT: draw.uniform(0.0, 0.5),
        **{stage: draw.randint(1, 4) for stage in STAGES},
    }


def _centred(params: Mapping[str, Any]) -> float:
    """Return a score whose best is in the middle of every range."""
    far = abs(math.log10(params[RATE]) + 1.5) / 1.5 + abs(math.log10(params[DECAY]) + 4) / 2
    far += abs(params[DROPOUT] - 0.25) * 4 + sum(abs(params[one] - 2.5) for one in STAGES) / 1.5
    return 0.6 - 0.05 * far


def _search(
    n_trials: int,
    *,
    score: Callable[[Mapping[str, Any]], float] = _centred,
    end: Callable[[MadeUpTrial], MadeUpTrial] = lambda trial: trial,
    **known: Any,
) -> MadeUpSearch:
    drawn = [MadeUpTrial(number, draw_params(number), seed=number) for number in range(n_trials)]
    scored = [replace(trial, value=score(trial.params)) for trial in drawn]
    return MadeUpSearch([end(trial) for trial in scored], **known)


def _ended(
    trial: MadeUpTrial, kind: str, state: TrialState = TrialState.PRUNED, n_epochs: int = 1
) -> MadeUpTrial:
    return replace(trial, value=None, kind=kind, state=state, n_epochs=n_epochs)


def _some_pruned(trial: MadeUpTrial) -> MadeUpTrial:
    return _ended(trial, "pruned") if trial.number % 4 == 3 else trial


def healthy() -> MadeUpSearch:
    """Return a search about which there is nothing to say: the best lie within every range."""
    return _search(40, end=_some_pruned)


def at_edge() -> MadeUpSearch:
    """Return a search whose score rises with the learning rate to the end of its range."""

    def end(trial: MadeUpTrial) -> MadeUpTrial:
        return _some_pruned(replace(trial, value=0.6 + 0.1 * math.log10(trial.params[RATE])))

    return _search(60, end=end)


def diverging() -> MadeUpSearch:
    """Return a search in which most trials above a learning rate of 0.3 diverge at once."""

    def end(trial: MadeUpTrial) -> MadeUpTrial:
        if trial.params[RATE] > 0.3 and trial.number % 5:
            return _ended(trial, "diverged", n_epochs=0)
        return _some_pruned(trial)

    return _search(60, end=end)


def over_pruned() -> MadeUpSearch:
    """Return a search of 60 pruned trials, and of six complete: one repeated, two close to it."""
    pruned = [_ended(trial, "pruned") for trial in _search(60).trials]
    repeated, second, third = (draw_params(number) for number in (100, 101, 102))
    runs = [(repeated, 0.50), (repeated, 0.52), (second, 0.51), (repeated, 0.53)]
    runs += [(third, 0.515), (repeated, 0.51)]
    complete = [
        MadeUpTrial(number, params, value=value, seed=number)
        for number, (params, value) in enumerate(runs, start=60)
    ]
    return MadeUpSearch([*pruned, *complete])


def diverging_anywhere() -> MadeUpSearch:
    """Return a search in which every fifth trial diverges, later than in its first epoch."""
    return _search(
        60,
        end=lambda one: _some_pruned(one) if one.number % 5 else _ended(one, "diverged"),
    )


def failing() -> MadeUpSearch:
    """Return a search in which trials fail and others run out of memory."""
    kinds = {0: ("exception", TrialState.FAIL), 1: ("out of memory", TrialState.PRUNED)}
    return _search(
        40,
        end=lambda one: (
            _ended(one, *kinds[one.number % 6]) if one.number % 6 in kinds else _some_pruned(one)
        ),
    )


def unpruned() -> MadeUpSearch:
    """Return a search whose pruner stops nothing."""
    return _search(40)


def paused() -> MadeUpSearch:
    """Return a search of paused trials, none of which is complete."""
    return _search(
        16,
        end=lambda one: replace(one, value=None, state=TrialState.WAITING, is_paused=True),
        pruner="promotion",
    )


def given_points() -> MadeUpSearch:
    """Return four given points under four seeds each, clearly apart from each other."""
    rates, seeds = (1e-3, 1e-2, 1e-1, 1.0), (1, 2, 3, 4)
    space = {RATE: CategoricalDistribution(rates), "seed": CategoricalDistribution(seeds)}
    runs = enumerate(itertools.product(enumerate(rates), seeds))
    trials = [
        MadeUpTrial(number, {RATE: rate, "seed": seed}, value=0.3 + 0.1 * place + 0.005 * seed)
        for number, ((place, rate), seed) in runs
    ]
    return MadeUpSearch(trials, space=space, pruner="none")
