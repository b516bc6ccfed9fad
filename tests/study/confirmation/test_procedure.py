import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.analysis.confirmation.reading import CANDIDATE, CONFIRMS, ConfirmationRun
from model.seeds import derive_seed
from storage.final_groups import CONTROL, WINNER
from study.configuration.sections import ConfirmConfig
from study.confirmation.candidates import Setting
from study.confirmation.procedure import first_points, next_points
from study.creation.queue import Point
from tests.study.confirmation.rows import run_of

DEFAULT = Setting({"x": 0.0}, 0, 0.2, 10)
plans = st.builds(
    ConfirmConfig,
    candidates=st.integers(1, 5),
    selection_seeds=st.integers(2, 4),
    verdict_seeds=st.integers(2, 5),
    race=st.booleans(),
)


def settings(n: int, *, first: int = 1) -> list[Setting]:
    return [Setting({"x": float(n)}, n, 0.9 - 0.1 * n, 10) for n in range(first, first + n)]


def drive(
    candidates: list[Setting], plan: ConfirmConfig, scores: random.Random, *, order: random.Random
) -> list[ConfirmationRun]:
    """Let workers end the queued runs in any order, and queue what follows, until nothing does."""
    points: list[Point] = first_points(candidates, plan)
    results: list[float] = []
    while True:
        results += [scores.random() for _ in range(len(points) - len(results))]
        waiting = list(range(len(points)))
        order.shuffle(waiting)
        done: set[int] = set()
        runs: list[ConfirmationRun] = []
        for slot in waiting:
            done.add(slot)
            runs = [
                run_of(place, point, results[place] if place in done else None)
                for place, point in enumerate(points)
            ]
            if len(done) < len(points):
                assert next_points(runs, DEFAULT, plan) == []
        more = next_points(runs, DEFAULT, plan)
        if not more:
            return runs
        points += more


@given(plans, st.integers(1, 5), st.integers(0, 2**31), st.integers(0, 2**31))
def test_order_of_workers_does_not_matter(
    plan: ConfirmConfig, n_candidates: int, seed: int, other: int
) -> None:
    candidates = settings(n_candidates)
    one, again = (
        drive(candidates, plan, random.Random(seed), order=random.Random(order))
        for order in (seed, other)
    )
    assert one == again


@given(plans, st.integers(1, 5), st.integers(0, 2**31), st.booleans())
def test_winner_and_control_get_equally_many_further_seeds(
    plan: ConfirmConfig, n_candidates: int, seed: int, has_control: bool
) -> None:
    candidates = settings(n_candidates, first=0 if has_control else 1)
    runs = drive(candidates, plan, random.Random(seed), order=random.Random(0))
    roles = Counter(run.role for run in runs)
    assert roles[CONTROL] == plan.verdict_seeds  # always there
    winners = {run.searched_trial for run in runs if run.role == WINNER}
    assert len(winners) <= 1
    if 0 not in {one.trial for one in candidates}:
        assert roles[WINNER] == plan.verdict_seeds
    first = Counter(run.searched_trial for run in runs if run.role == CANDIDATE)
    assert first.keys() == {one.trial for one in candidates}
    most = 2 * plan.selection_seeds if plan.race else plan.selection_seeds
    assert all(plan.selection_seeds <= n <= most for n in first.values())
    stages = [run.role == CANDIDATE for run in runs]
    assert stages == sorted(stages, reverse=True)


def test_a_control_that_wins_gets_its_seeds_once() -> None:
    plan = ConfirmConfig(candidates=2, verdict_seeds=3)
    candidates = [DEFAULT, *settings(1)]
    runs = [
        run_of(slot, point, 0.9 if point.params == DEFAULT.params else 0.1)
        for slot, point in enumerate(first_points(candidates, plan))
    ]
    roles = [point.attributes[CONFIRMS]["role"] for point in next_points(runs, DEFAULT, plan)]
    assert roles == [CONTROL] * 3


def test_a_race_goes_on_with_those_that_keep_up_only() -> None:
    plan = ConfirmConfig(candidates=3, race=True)
    candidates = settings(3)
    scores = {1: [0.50, 0.52], 2: [0.49, 0.52], 3: [0.1, 0.12]}
    points = first_points(candidates, plan)
    runs = [
        run_of(slot, point, scores[point.attributes[CONFIRMS]["trial"]][slot // 3])
        for slot, point in enumerate(points)
    ]
    more = next_points(runs, DEFAULT, plan)
    assert [point.attributes[CONFIRMS]["trial"] for point in more] == [1, 2]
    assert {point.attributes[CONFIRMS]["role"] for point in more} == {CANDIDATE}


def test_nothing_follows_where_each_candidate_has_a_run_that_failed() -> None:
    plan = ConfirmConfig(candidates=2)
    points = first_points(settings(2), plan)
    runs = [
        run_of(slot, point, None, state="failed") if slot < 2 else run_of(slot, point, 0.9)
        for slot, point in enumerate(points)
    ]
    assert next_points(runs, DEFAULT, plan) == []


@pytest.mark.parametrize("seed", [0, 42, 2**31])
def test_seeds_of_search_confirmation_and_final_runs_are_disjoint(seed: int) -> None:
    seeds = [
        derive_seed(seed, kind, slot)
        for kind in ("trial", "confirm", "final")
        for slot in range(100)
    ]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("won", [True, False])
def test_trial_of_the_configured_values_is_the_control_whatever_its_number_and_seed(
    won: bool,
) -> None:
    same = Setting({"x": 0.0, "seed": 5}, 3, 0.8, 10)
    other = Setting({"x": 1.0}, 4, 0.7, 10)
    plan = ConfirmConfig(candidates=2, selection_seeds=2, verdict_seeds=2)
    first = first_points([same, other], plan)
    scores = [0.6, 0.5] * 2 if won else [0.5, 0.6] * 2
    runs = [
        run_of(slot, point, score)
        for slot, (point, score) in enumerate(zip(first, scores, strict=True))
    ]
    queued = [point.attributes[CONFIRMS] for point in next_points(runs, DEFAULT, plan)]
    arms = [(CONTROL, 3)] if won else [(WINNER, 4), (CONTROL, 3)]
    assert [(one["role"], one["trial"]) for one in queued] == arms * 2
