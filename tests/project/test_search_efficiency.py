"""The replay of recorded curves: what it counts, with the product's sampler and pruner."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recorded_curves import best_so_far, read_own
from benchmarks.search_efficiency import (
    Job,
    Policy,
    policies,
    regrets,
    summarise,
)
from study.configuration.sections import SearchConfig

ROOT = Path(__file__).parents[2]
N_SETTINGS = 20
RUNGS = SearchConfig(pruner="rungs", n_startup_trials=2)
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


@pytest.mark.parametrize("n_workers", [1, 3])
def test_search_without_pruning_finds_the_best_once_everything_is_trained(
    curves: Path, n_workers: int
) -> None:
    table = read_own(curves)
    found = regrets(Job(table, Policy("none", EVERYTHING), n_workers, seed=0))
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


def test_best_so_far_ends_where_training_diverged() -> None:
    scores = [0.1, 0.3, 0.2, 0.4]
    assert best_so_far(scores, 4, 2) == pytest.approx([30, 40])
    assert best_so_far(scores[:3], 4, 2) == pytest.approx([30])
    assert best_so_far([], 4, 2).size == 0


@pytest.mark.slow
def test_search_efficiency_compares_every_policy(curves: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.search_efficiency", "--tables", "OWN"]
    options = ["--curves", str(curves.parents[1]), "--repetitions", "2", "--workers", "2"]
    out = tmp_path / "out.json"
    subprocess.run(
        [*command, *options, "--out", str(out)], cwd=ROOT, check=True, capture_output=True
    )
    report = json.loads(out.read_text())
    assert [row["policy"] for row in report["rows"]] == [policy.name for policy in policies()]
    assert all(row["regret_at_20"] <= row["regret_at_10"] for row in report["rows"])
