"""Each sentence of a diagnosis belongs to its made-up studies, and is said of no other."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from dashboards.analysis.diagnosis import ends, evidence, ranges, spread
from dashboards.analysis.diagnosis.sentences import diagnose
from tests.tools import diagnosed_searches
from tests.tools.made_up_searches import (
    DECAY,
    DROPOUT,
    RATE,
    STAGES,
    MadeUpSearch,
    MadeUpTrial,
)

SENTENCES = {
    "end of range": "end of its range, 0.001 to 1: widen it",
    "diverged at end": "trials there, none of the",
    "diverged anywhere": "diverged, at no end of one range",
    "first epoch": "did so in their first epoch",
    "failed": "trials failed (",
    "out of memory": "ran out of memory",
    "nothing pruned": "was pruned by pruner",
    "over-pruned": "too few to rank configurations by",
    "paused": "paused at their rungs",
    "spread": "their order is not told",
}
SAID = {
    diagnosed_searches.healthy: set(),
    diagnosed_searches.at_edge: {"end of range"},
    diagnosed_searches.diverging: {"diverged at end", "first epoch"},
    diagnosed_searches.over_pruned: {"over-pruned", "spread"},
    diagnosed_searches.diverging_anywhere: {"diverged anywhere"},
    diagnosed_searches.failing: {"failed", "out of memory"},
    diagnosed_searches.unpruned: {"nothing pruned"},
    diagnosed_searches.paused: {"paused"},
    diagnosed_searches.given_points: set(),
}
RATES = "search.space.optimization.learning_rate"


def said_of(search: MadeUpSearch) -> list[str]:
    return diagnose(search.evidence())


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("search", SAID, ids=lambda search: search.__name__)
def test_sentence_is_said_where_it_belongs_and_only_there(
    search: Callable[[], MadeUpSearch], sentence: str
) -> None:
    for made_up in (search(), search().with_old_names()):
        found = sum(SENTENCES[sentence] in each for each in said_of(made_up))
        assert found == (sentence in SAID[search])


@pytest.mark.parametrize("search", SAID, ids=lambda search: search.__name__)
def test_no_sentence_is_said_that_the_table_leaves_out(
    search: Callable[[], MadeUpSearch],
) -> None:
    assert len(said_of(search())) == len(SAID[search])


def test_every_sentence_is_said_of_some_search() -> None:
    assert set().union(*SAID.values()) == set(SENTENCES)


def test_old_and_new_names_of_hyperparameters_say_the_same() -> None:
    for search in SAID:
        assert said_of(search()) == said_of(search().with_old_names())


def test_figures_are_those_of_the_trials() -> None:
    search = diagnosed_searches.diverging()
    at_end, in_first = said_of(search)
    diverged = [one for one in search.trials if one.kind == "diverged"]
    limit = min(one.params[RATE] for one in diverged)
    n_there = sum(one.params[RATE] >= limit for one in search.trials)
    n = len(diverged)
    assert at_end.startswith(f"{n} of 60 finished trials diverged, all with learning rate ")
    assert f"{n} of the {n_there} trials there, none of the {60 - n_there} below" in at_end
    assert at_end.endswith(f"`study fork NEW --set {RATES}.high=0.46`.")
    assert f"{n} of {n} diverged trials" in in_first
    assert in_first.endswith("`study fork NEW --set optimization.warmup_epochs=2`.")


def test_range_is_widened_at_the_end_that_the_best_trials_have() -> None:
    (widened,) = said_of(diagnosed_searches.at_edge())
    assert widened.startswith("The best 3 of 45 complete trials have learning rate ")
    assert widened.endswith(f"`study fork NEW --set {RATES}.high=4`.")


def test_end_where_trials_diverge_is_not_widened() -> None:
    search = diagnosed_searches.at_edge()
    diverging = [
        replace(one, state=TrialState.PRUNED, kind="diverged", value=None)
        if one.params[RATE] > 0.3 and one.number % 3
        else one
        for one in search.trials
    ]
    (said,) = said_of(replace(search, trials=diverging))
    assert SENTENCES["diverged at end"] in said and "So are some of the best 3" in said
    assert said.endswith("`study fork NEW --set optimization.gradient_clip_norm=1`.")


def at_end_of(name: str, values: Sequence[float], n_trials: int = 60) -> list[str]:
    """Return what is said where the best trials have these values, the others any."""
    drawn = [diagnosed_searches.draw_params(number) for number in range(n_trials)]
    middle = {RATE: 0.03, DECAY: 1e-4, DROPOUT: 0.25, STAGES[0]: 2, STAGES[1]: 3}
    best = [middle | {name: value} for value in values]
    trials = [
        MadeUpTrial(number, params, value=0.9 if number < len(values) else 0.1)
        for number, params in enumerate([*best, *drawn[len(values) :]])
    ]
    return said_of(MadeUpSearch(trials, pruner="none"))


@pytest.mark.parametrize(
    ("name", "values", "remedy"),
    [
        (RATE, [0.0011, 0.0012, 0.0013], f"{RATES}.low=0.0002"),
        (RATE, [0.9, 0.9, 0.6], f"{RATES}.high=4"),
        (RATE, [0.9, 0.9, 0.4], None),
        (DECAY, [9e-3, 8e-3, 7e-3], "search.space.optimization.weight_decay.high=0.07"),
        (DROPOUT, [0.46, 0.47, 0.48], "search.space.network.dropout.high=0.6"),
        (DROPOUT, [0.0, 0.01, 0.02], None),
        (STAGES[1], [4, 4, 4, 4], "search.space.network.blocks.high=5"),
        (STAGES[1], [4, 4, 4], None),
        (STAGES[1], [1, 1, 1, 1], None),
    ],
)
def test_best_trials_at_an_end_widen_it_within_the_bounds(
    name: str, values: list[float], remedy: str | None
) -> None:
    found = at_end_of(name, values)
    if remedy is None:
        assert found == []
    else:
        (said,) = found
        assert said.endswith(f"`study fork NEW --set {remedy}`.")


def test_stages_share_a_range_and_are_told_apart() -> None:
    (said,) = at_end_of(STAGES[1], [4, 4, 4, 4])
    assert "have blocks of stage 2 4, at the upper end of its range, 1 to 4" in said


def test_too_few_complete_trials_widen_nothing() -> None:
    assert at_end_of(RATE, [0.9, 0.9, 0.9], ranges.FEWEST_COMPLETE)
    assert at_end_of(RATE, [0.9, 0.9, 0.9], ranges.FEWEST_COMPLETE - 1) == []


def test_order_that_seeds_tell_is_not_doubted() -> None:
    search = diagnosed_searches.over_pruned()
    apart = [
        replace(one, value=0.9) if one.value == 0.51 and one.seed == 62 else one
        for one in search.trials
    ]
    assert [SENTENCES["spread"] in each for each in said_of(replace(search, trials=apart))] == [
        False
    ]


def test_runs_of_one_seed_are_no_noise() -> None:
    search = diagnosed_searches.over_pruned()
    same = [replace(one, seed=1) for one in search.trials]
    assert [SENTENCES["spread"] in each for each in said_of(replace(search, trials=same))] == [
        False
    ]


def test_given_points_under_seeds_are_compared() -> None:
    search = diagnosed_searches.given_points()
    alike = [
        replace(one, value=0.5 + 0.02 * one.params["seed"] + 0.001 * one.number)
        for one in search.trials
    ]
    (said,) = said_of(replace(search, trials=alike))
    assert said.startswith("The best 4 configurations lie within 1.2 points of macro-F1")
    assert "(standard deviation, 16 runs of 4 configurations)" in said


STATES = (
    (TrialState.COMPLETE, None),
    (TrialState.PRUNED, "pruned"),
    (TrialState.PRUNED, "diverged"),
    (TrialState.PRUNED, "out of memory"),
    (TrialState.FAIL, "exception"),
)


def any_search(draw: random.Random, n_trials: int) -> MadeUpSearch:
    """Return a search with repeats, and with much at one end and of one outcome."""
    usual = draw.choice(STATES)
    trials = []
    for number in range(n_trials):
        state, kind = usual if draw.random() < 0.7 else draw.choice(STATES)
        params = diagnosed_searches.draw_params(draw.randrange(n_trials))
        if draw.random() < 0.5:
            params[RATE] = 10 ** draw.uniform(-0.3, 0)
        value = 0.5 + 0.2 * params[RATE] if state is TrialState.COMPLETE else None
        n_epochs = draw.randrange(2)
        trials.append(
            MadeUpTrial(number, params, state, value, kind, n_epochs=n_epochs, seed=number)
        )
    return MadeUpSearch(trials)


@given(st.integers(0, 10**6), st.integers(0, 60))
def test_order_of_trials_has_no_influence(seed: int, n_trials: int) -> None:
    draw = random.Random(seed)
    found = any_search(draw, n_trials).evidence()

    def shuffled(rows: Sequence[Any]) -> list[Any]:
        return draw.sample(rows, len(rows))

    other = replace(
        found,
        best=shuffled(found.best),
        repeats=shuffled(found.repeats),
        diverged=shuffled(found.diverged),
        kinds=dict(shuffled([*found.kinds.items()])),
        failure_kinds=dict(shuffled([*found.failure_kinds.items()])),
    )
    assert diagnose(other) == diagnose(found)


FEWEST = min(ranges.FEWEST_COMPLETE, evidence.FEWEST_FINISHED)


@given(st.integers(0, 10**6), st.integers(0, FEWEST - 1))
def test_few_trials_say_nothing_but_of_repeats(seed: int, n_trials: int) -> None:
    search = any_search(random.Random(seed), n_trials)
    n_free = n_trials - len({tuple(one.params.items()) for one in search.trials})
    said = said_of(search)
    assert all(SENTENCES["spread"] in each for each in said)
    assert not said or n_free >= spread.FEWEST_FREE


@given(st.integers(0, 10**6), st.integers(0, ends.FEWEST_PAUSED - 1))
def test_few_paused_trials_say_nothing(seed: int, n_paused: int) -> None:
    search = diagnosed_searches.paused()
    assert said_of(replace(search, trials=search.trials[:n_paused])) == []
    assert said_of(search)


@given(st.integers(0, 10**6))
def test_rare_ends_say_nothing(seed: int) -> None:
    draw = random.Random(seed)
    trials = [*diagnosed_searches.healthy().trials]
    for number in draw.sample(range(len(trials)), 2):
        state, kind = draw.choice(STATES[2:])
        trials[number] = replace(trials[number], state=state, kind=kind, value=None)
    said = said_of(MadeUpSearch(trials))
    assert not any("trials failed" in each or "diverged" in each for each in said)
