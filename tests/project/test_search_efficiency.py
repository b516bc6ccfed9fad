"""The replay of recorded curves: what it counts, with the product's sampler and pruner."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from benchmarks.recorded_curves import Space, Table, best_so_far, read_own, read_tables
from benchmarks.search_efficiency import BUDGETS, Job, policy_named, regrets, summarise
from benchmarks.search_policies import Policy, policies, promotion
from benchmarks.seen_study import (
    SeenStudy,
    View,
    show_as_pruned,
    show_as_stored,
    show_last_values,
)
from benchmarks.simulated_search import Search
from study.configuration.sections import SearchConfig

ROOT = Path(__file__).parents[2]
RECORDED = ROOT.parent / "shared" / "curves"
N_SETTINGS = 20
RUNGS = SearchConfig(pruner="rungs", n_startup_trials=2)
PROMOTION = promotion("promotion", n_startup_trials=2)
EVERYTHING = SearchConfig(pruner="none", n_startup_trials=2)


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings whose curves rise in parallel: the better, the higher their learning rate."""
    file = tmp_path_factory.mktemp("curves") / "own" / "tiny-imagenet-20-joint.csv.gz"
    names = "setting learning_rate weight_decay blocks_1 blocks_2 blocks_3 dropout epoch"
    lines = [",".join([*names.split(), "validation_macro_f1"])]
    for setting in range(N_SETTINGS):
        blocks = f"{1 + setting % 4},{1 + setting % 2},{1 + setting % 3}"
        point = f"{0.01 * (setting + 1)},{1e-5 * (1 + setting % 3)},{blocks},{0.1 * (setting % 5)}"
        for epoch in range(1, 17):
            lines.append(f"{setting},{point},{epoch},{0.01 * setting + 0.02 * epoch}")
    file.parent.mkdir()
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    return file


def equal_table() -> Table:
    """Return a table of two settings, either of which may be drawn first, with equal curves."""
    space: Space = {"learning_rate": FloatDistribution(0, 1)}
    settings = [{"learning_rate": 0.0}, {"learning_rate": 1.0}]
    return Table("made up", space, settings, [np.arange(1.0, 5.0)] * 2, 4)


@pytest.mark.parametrize("n_workers", [1, 3])
def test_search_without_pruning_finds_the_best_once_everything_is_trained(
    curves: Path, n_workers: int
) -> None:
    table = read_own(curves)
    found = regrets(Job(table, Policy("none", EVERYTHING), n_workers, seed=0))[20]
    assert len(found) == N_SETTINGS * 16
    assert found[-1] == pytest.approx(0)
    assert found[: 15 * n_workers] == [table.best] * 15 * n_workers  # nothing is complete yet
    assert (np.diff(found) <= 0).all()


def test_search_with_rungs_comes_to_the_best_with_less_compute(curves: Path) -> None:
    table = read_own(curves)
    whole, cut = (
        summarise(table, [regrets(Job(table, Policy("", search), 1, seed)) for seed in range(3)])
        for search in (EVERYTHING, RUNGS)
    )
    assert cut["compute_to_within_2_points"] < whole["compute_to_within_2_points"]
    assert cut["regret_at_20"] == 0


def test_promotion_comes_to_the_best_with_less_compute(curves: Path) -> None:
    table = read_own(curves)
    whole = summarise(table, [regrets(Job(table, Policy("", EVERYTHING), 1, s)) for s in range(3)])
    halves = summarise(table, [regrets(Job(table, PROMOTION, 1, s)) for s in range(3)])
    assert halves["compute_to_within_2_points"] < whole["compute_to_within_2_points"]
    assert halves["regret_at_20"] == 0


@pytest.mark.parametrize("n_workers", [1, 3])
@pytest.mark.parametrize("factor", [2, 3])
def test_trials_go_on_from_a_rung_while_they_are_among_its_best(
    curves: Path, n_workers: int, factor: int
) -> None:
    policy = promotion("promotion", factor=factor, sampler="random")
    search = Search(read_own(curves), policy, seed=0)
    bests = search.run(n_workers=n_workers, budget=N_SETTINGS)
    trials = search.study.get_trials()
    assert len(trials) == N_SETTINGS
    assert len(bests) == sum(trial.last_step for trial in trials)
    for rung in policy.rungs(16):
        reached = [trial for trial in trials if trial.last_step >= rung]
        reached.sort(key=lambda trial: -trial.intermediate_values[rung])
        n_best = len(reached) // factor
        assert all(trial.last_step > rung for trial in reached[:n_best])
        paused = [trial for trial in reached if trial.state == TrialState.WAITING]
        assert {trial.last_step for trial in paused} <= set(policy.rungs(16))
        assert any(trial.last_step == rung for trial in reached)
    assert {trial.last_step for trial in trials if trial.state == TrialState.COMPLETE} == {16}


def test_first_trial_waits_for_a_second_to_be_better_than() -> None:
    """Of equal ones the earlier is the better; the compute is that of the first and a half."""
    search = Search(equal_table(), promotion("promotion", sampler="random", rungs=(0.5,)), seed=0)
    search.run(n_workers=1, budget=1.5)
    first, second = search.study.get_trials()
    assert (first.last_step, second.last_step) == (4, 2)
    assert first.state == TrialState.COMPLETE
    assert second.state == TrialState.WAITING


def test_same_seed_gives_the_same_regrets(curves: Path) -> None:
    table = read_own(curves)
    for policy in (PROMOTION, policy_named("Hyperband, factor 3")):
        assert regrets(Job(table, policy, 2, 1)) == regrets(Job(table, policy, 2, 1))


@pytest.mark.parametrize(
    ("view", "complete", "pruned", "waiting"),
    [
        (show_as_stored, [0.9], [0.2], [0.5]),
        (show_as_pruned, [0.9], [0.2, 0.5], []),
        (show_last_values, [0.9, 0.2, 0.5], [], []),
    ],
)
def test_view_changes_how_paused_and_pruned_trials_look(
    view: View, complete: list[float], pruned: list[float], waiting: list[float]
) -> None:
    storage = InMemoryStorage()
    study = optuna.create_study(study_name="seen", storage=storage)
    for state, value in (("COMPLETE", 0.9), ("PRUNED", 0.2), ("WAITING", 0.5)):
        frozen = optuna.trial.create_trial(
            state=TrialState[state],
            value=value if state == "COMPLETE" else None,
            intermediate_values={1: 0.1, 2: value},
        )
        study.add_trial(frozen)
    seen = SeenStudy("seen", storage, view)
    for state, values in (("COMPLETE", complete), ("PRUNED", pruned), ("WAITING", waiting)):
        trials = seen.get_trials(states=(TrialState[state],))
        assert [trial.intermediate_values[2] for trial in trials] == values
    assert [trial.value for trial in seen.get_trials(states=(TrialState.COMPLETE,))] == complete
    assert study.get_trials()[2].state == TrialState.WAITING


def test_best_so_far_ends_where_training_diverged() -> None:
    scores = [0.1, 0.3, 0.2, 0.4]
    assert best_so_far(scores, 4, 2) == pytest.approx([30, 40])
    assert best_so_far(scores[:3], 4, 2) == pytest.approx([30])
    assert best_so_far([], 4, 2).size == 0


@pytest.mark.slow
def test_search_efficiency_compares_every_policy(curves: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.search_efficiency", "--tables", "OWN"]
    options = ["--curves", str(curves.parents[1]), "--repetitions", "2", "--workers", "2"]
    options += ["--gp-repetitions", "2"]
    out = tmp_path / "out.json"
    subprocess.run(
        [*command, *options, "--out", str(out)], cwd=ROOT, check=True, capture_output=True
    )
    report = json.loads(out.read_text())
    assert [row["policy"] for row in report["rows"]] == [policy.name for policy in policies()]
    assert all(row["regret_at_20"] <= row["regret_at_10"] for row in report["rows"])


@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded curves are not beside the project")
def test_promotion_is_ahead_on_recorded_curves() -> None:
    """Equal seeds for all; the mean regret after 10 and 20 trainings over the four tables."""
    tables = [read() for read in read_tables(RECORDED).values()]
    names = ("none", "percentile 75 from 50 %", "Optuna's halving from 10 %")
    others = [mean_regret(tables, name) for name in names]
    assert mean_regret(tables, "promotion at 10, 20, 40 %") < 0.9 * min(others)


def mean_regret(tables: list[Table], name: str) -> float:
    """Return the mean over tables, budgets and five studies, in points."""
    rows = [
        summarise(table, [regrets(Job(table, policy_named(name), 1, seed)) for seed in range(5)])
        for table in tables
    ]
    return float(np.mean([row[f"regret_at_{budget}"] for row in rows for budget in BUDGETS]))
