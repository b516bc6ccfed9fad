"""Measure what a search finds for its compute, on recorded learning curves.

Each table holds many settings of a network, and the score that each had after every epoch of a
schedule of its own. The product's sampler draws a point, which becomes the nearest setting that
has not been trained yet; its curve is then replayed step by step, and the product's pruner, or one
of Optuna's, may end it. Workers take turns in simulated time. Only complete trials may win. A
regret is what the best of them lacks, in points, to the best of the table; compute is counted in
whole trainings.

    python -m benchmarks.search_efficiency --curves FOLDER --out search-efficiency.json
    python -m benchmarks.search_efficiency --curves FOLDER --tables OWN --repetitions 10
"""

import argparse
import json
import math
import platform
import shlex
import statistics
import sys
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from benchmarks.recorded_curves import Setting, Space, Table, normalised, read_tables
from study.configuration.config import StudyConfig
from study.configuration.sections import SearchConfig
from study.trial.samplers import build_pruner, build_sampler

BUDGETS = (10, 20)
"""Whole trainings after which regrets are measured."""
WITHIN = 2.0
"""Points to the table's best that count as found."""
QUANTILE = 0.8


@dataclass(frozen=True)
class Policy:
    """How to search: the settings of the product, or another pruner in place of its own."""

    name: str
    search: SearchConfig
    pruner: Callable[[int], BasePruner] | None = None

    def build_pruner(self, n_steps: int) -> BasePruner:
        """Return its pruner for schedules of so many steps."""
        if self.pruner is not None:
            return self.pruner(n_steps)
        search = self.search.model_copy(
            update={"n_epochs": n_steps, "pruner_warmup_epochs": n_steps // 2}
        )
        config = StudyConfig()
        optimization = config.optimization.model_copy(update={"warmup_epochs": 0})
        return build_pruner(
            config.model_copy(update={"search": search, "optimization": optimization})
        )


def policies() -> list[Policy]:
    """Return what is compared."""
    default = SearchConfig()
    return [
        Policy("none", replace_search(default, pruner="none")),
        Policy("percentile 75 from 50 %", default),
        Policy("median from 50 %", replace_search(default, pruner="median")),
        Policy("Optuna's halving from 10 %", default, halving),
        Policy("Hyperband, factor 3", default, hyperband),
        Policy("rungs at 10, 25, 50 %", replace_search(default, pruner="rungs")),
        Policy(
            "random, rungs at 10, 25, 50 %",
            replace_search(default, sampler="random", pruner="rungs"),
        ),
    ]


def replace_search(search: SearchConfig, **changes: Any) -> SearchConfig:
    """Return validated settings of the search with some changes."""
    return SearchConfig.model_validate(search.model_dump() | changes)


def halving(n_steps: int) -> BasePruner:
    """Return Optuna's successive halving from a tenth of the schedule."""
    return SuccessiveHalvingPruner(min_resource=max(1, n_steps // 10), reduction_factor=2)


def hyperband(n_steps: int) -> BasePruner:
    """Return Optuna's Hyperband."""
    return HyperbandPruner(
        min_resource=max(1, n_steps // 10), max_resource=n_steps, reduction_factor=3
    )


@dataclass
class Running:
    """A trial at work: its row in Optuna's storage, its setting, and how far it is."""

    trial_id: int
    setting: int
    steps_done: int = 0


class Search:
    """One simulated study.

    Args:
        table: What is searched.
        policy: How.
        seed: Of the sampler.
    """

    def __init__(self, table: Table, policy: Policy, *, seed: int) -> None:
        self._table = table
        self._policy = policy
        self._seed = seed
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(
            storage=self._storage, direction="maximize", pruner=policy.build_pruner(table.n_steps)
        )
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._points = normalised(table.space, table.settings)
        self._is_unused = np.ones(len(table.settings), dtype=bool)

    def run(self, *, n_workers: int, budget: float) -> list[float]:
        """Train until the budget is spent.

        Args:
            n_workers: So many trials at a time; their steps take equally long.
            budget: Compute, in whole trainings.

        Returns:
            After each step of a worker, the best score of a complete trial, in points.
        """
        best = -math.inf
        bests: list[float] = []
        turns = deque(self._begin() for _ in range(n_workers))
        while turns and len(bests) < budget * self._table.n_steps:
            running = turns.popleft()
            value = self._advance(running)
            if value is None:
                turns.append(running)
            elif self._is_unused.any():
                turns.append(self._begin())
            best = max(best, value or best)
            bests.append(best)
        return bests

    def _begin(self) -> Running:
        """Draw a point, and begin with the nearest setting that is left."""
        trial_id = self._storage.create_new_trial(self._study_id)
        number = self._storage.get_trial_number_from_id(trial_id)
        sampler = build_sampler(self._policy.search, seed=self._seed, number=number)
        # A study of its own, as each keeps the trials that it saw at its first draw.
        seen = optuna.load_study(storage=self._storage, study_name=self._study.study_name)
        drawn = draw(sampler, seen, self._storage.get_trial(trial_id), self._table.space)
        distances_N = np.linalg.norm(self._points - normalised(self._table.space, [drawn]), axis=1)
        setting = int(np.argmin(np.where(self._is_unused, distances_N, np.inf)))
        self._is_unused[setting] = False
        for name, distribution in self._table.space.items():
            value = self._table.settings[setting][name]
            self._storage.set_trial_param(trial_id, name, value, distribution)
        return Running(trial_id, setting)

    def _advance(self, running: Running) -> float | None:
        """Train a step; return what the trial has reached where that ends it."""
        curve = self._table.curves[running.setting]
        step = running.steps_done = running.steps_done + 1
        is_diverged = step > len(curve)
        if not is_diverged:
            value = float(curve[step - 1])
            self._storage.set_trial_intermediate_value(running.trial_id, step, value)
            if step == self._table.n_steps:
                self._finish(running, TrialState.COMPLETE, value)
                return value
        trial = self._storage.get_trial(running.trial_id)
        if is_diverged or self._study.pruner.prune(self._study, trial):
            self._finish(running, TrialState.PRUNED, trial.intermediate_values.get(step))
            return -math.inf
        return None

    def _finish(self, running: Running, state: TrialState, value: float | None) -> None:
        values = None if value is None else [value]
        self._storage.set_trial_state_values(running.trial_id, state, values)


def draw(sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial, space: Space) -> Setting:
    """Return a point from a real sampler, as Optuna would draw it for a trial."""
    relative = sampler.infer_relative_search_space(study, trial)
    point = sampler.sample_relative(study, trial, relative)
    for name, distribution in space.items():
        if name not in point:
            point[name] = sampler.sample_independent(study, trial, name, distribution)
    return point


@dataclass(frozen=True)
class Job:
    """One simulated study to run in a process of its own."""

    table: Table
    policy: Policy
    n_workers: int
    seed: int


def regrets(job: Job) -> list[float]:
    """Return the regret after every step, in points; of a study without a result, the best."""
    search = Search(job.table, job.policy, seed=job.seed)
    bests = search.run(n_workers=job.n_workers, budget=max(BUDGETS))
    return [job.table.best - max(best, 0.0) for best in bests]


def summarise(table: Table, runs: list[list[float]]) -> dict[str, Any]:
    """Return regrets at each budget with their standard errors, and the compute to come near."""
    row: dict[str, Any] = {}
    for budget in BUDGETS:
        values = [run[min(len(run), budget * table.n_steps) - 1] for run in runs]
        row[f"regret_at_{budget}"] = statistics.mean(values)
        row[f"standard_error_at_{budget}"] = statistics.stdev(values) / math.sqrt(len(values))
    found = sorted(
        next((step for step, regret in enumerate(run, start=1) if regret <= WITHIN), math.inf)
        for run in runs
    )
    steps = found[math.ceil(QUANTILE * len(found)) - 1]
    row["compute_to_within_2_points"] = None if math.isinf(steps) else steps / table.n_steps
    return row


def main() -> None:
    """Measure what the command line asks for, print a table and write one JSON document."""
    arguments = parse_arguments()
    readers = read_tables(arguments.curves)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = []
    print(f"{'policy':<32} {'workers':>7}  table  regret at {BUDGETS[0]:>2} and {BUDGETS[1]} "
          "trainings  to within 2 points")  # fmt: skip
    with ProcessPoolExecutor(arguments.processes) as processes:
        for name in arguments.tables:
            table = readers[name]()
            for n_workers in arguments.workers:
                for policy in policies():
                    jobs = [
                        Job(table, policy, n_workers, seed)
                        for seed in range(arguments.repetitions)
                    ]
                    runs = list(processes.map(regrets, jobs))
                    rows.append(
                        {"table": name, "policy": policy.name, "workers": n_workers}
                        | summarise(table, runs)
                    )
                    show(rows[-1])
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.search_efficiency", *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), "optuna": optuna.__version__},
        "repetitions": arguments.repetitions,
        "rows": rows,
    }
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def show(row: Mapping[str, Any]) -> None:
    """Print one row."""
    regret = "  ".join(
        f"{row[f'regret_at_{budget}']:5.2f} ± {row[f'standard_error_at_{budget}']:.2f}"
        for budget in BUDGETS
    )
    near = row["compute_to_within_2_points"]
    print(
        f"{row['policy']:<32} {row['workers']:>7}  {row['table']:<5}  {regret}  "
        f"{f'{near:.1f}' if near is not None else f'over {max(BUDGETS)}':>10}",
        flush=True,
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--curves", type=Path, required=True, help="folder of the recorded curves")
    parser.add_argument("--tables", nargs="+", default=["TIN", "CNX", "ALX", "OWN"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
