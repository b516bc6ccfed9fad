"""Measure what a search finds for its compute, on recorded learning curves.

Each table holds many settings of a network, and the score that each had after every epoch of a
schedule of its own. The product's sampler draws a point, which becomes the nearest setting that
has not been trained yet; its curve is then replayed step by step, and the product's pruner, or one
of Optuna's, may end it, or it pauses at a rung until promoted by the product's own rule.
Workers take turns in simulated time. Only complete trials may win. A regret is what the best of
them lacks, in points, to the best of the table; compute is counted in whole trainings. No trial
is audited, though studies by default audit one in twenty (`search.audit_fraction`).

    python -m benchmarks.search_efficiency --curves FOLDER --out search-efficiency.json
    python -m benchmarks.search_efficiency --curves FOLDER --tables OWN --policies none GP
"""

import argparse
import json
import math
import platform
import shlex
import statistics
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch

from benchmarks.recorded_curves import Table, read_tables
from benchmarks.search_policies import Policy, policies
from benchmarks.simulated_search import Search

BUDGETS = (10, 20)
"""Whole trainings after which regrets are measured."""
WITHIN = 2.0
"""Points to the table's best that count as found."""
QUANTILE = 0.8


@dataclass(frozen=True)
class Job:
    """One simulated study to run in a process of its own."""

    table: Table
    policy: Policy
    n_workers: int
    seed: int


Regrets = list[float]
"""The regret after every step, in points; that of a study without a result is the best."""


def regrets(job: Job) -> dict[int, Regrets]:
    """Return the regrets of a study with each budget; one without promotion looks at none."""
    largest = max(BUDGETS)
    if job.policy.factor is None:
        return dict.fromkeys(BUDGETS, regrets_of(job, largest))
    return {budget: regrets_of(job, budget) for budget in BUDGETS}


def regrets_of(job: Job, budget: int) -> Regrets:
    """Return the regrets of a study that may spend so many whole trainings."""
    search = Search(job.table, job.policy, seed=job.seed)
    bests = search.run(n_workers=job.n_workers, budget=budget)
    return [job.table.best - max(best, 0.0) for best in bests]


def summarise(table: Table, runs: list[dict[int, Regrets]]) -> dict[str, Any]:
    """Return regrets at each budget with their standard errors, and the compute to come near."""
    row: dict[str, Any] = {"repetitions": len(runs)}
    for budget in BUDGETS:
        of_budget = [run[budget] for run in runs]
        values = [run[min(len(run), budget * table.n_steps) - 1] for run in of_budget]
        row[f"regret_at_{budget}"] = statistics.mean(values)
        row[f"standard_error_at_{budget}"] = statistics.stdev(values) / math.sqrt(len(values))
    found = sorted(
        next((step for step, regret in enumerate(run, start=1) if regret <= WITHIN), math.inf)
        for run in (run[max(BUDGETS)] for run in runs)
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
          "trainings  to within 2 points  studies")  # fmt: skip
    with ProcessPoolExecutor(arguments.processes) as processes:
        for name in arguments.tables:
            table = readers[name]()
            for n_workers in arguments.workers:
                for policy in arguments.policies:
                    seeds = range(n_repetitions(policy, arguments))
                    jobs = [Job(table, policy, n_workers, seed) for seed in seeds]
                    runs = list(processes.map(regrets, jobs))
                    rows.append(
                        {"table": name, "policy": policy.name, "workers": n_workers}
                        | summarise(table, runs)
                    )
                    show(rows[-1])
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report(rows), indent=2) + "\n")


def n_repetitions(policy: Policy, arguments: argparse.Namespace) -> int:
    """Return how many studies a policy gets: Gaussian processes take many times as long."""
    is_slow = policy.search.sampler == "gp"
    return int(arguments.gp_repetitions if is_slow else arguments.repetitions)


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the document that is written."""
    return {
        "command": shlex.join(["python", "-m", "benchmarks.search_efficiency", *sys.argv[1:]]),
        "versions": {
            "python": platform.python_version(),
            "optuna": optuna.__version__,
            "torch": torch.__version__,
        },
        "seeds": "0 to repetitions - 1",
        "rows": rows,
    }


def show(row: Mapping[str, Any]) -> None:
    """Print one row."""
    regret = "  ".join(
        f"{row[f'regret_at_{budget}']:5.2f} ± {row[f'standard_error_at_{budget}']:.2f}"
        for budget in BUDGETS
    )
    near = row["compute_to_within_2_points"]
    print(
        f"{row['policy']:<32} {row['workers']:>7}  {row['table']:<5}  {regret}  "
        f"{f'{near:.1f}' if near is not None else f'over {max(BUDGETS)}':>10}"
        f"  {row['repetitions']:>15}",
        flush=True,
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--curves", type=Path, required=True, help="folder of the recorded curves")
    parser.add_argument("--tables", nargs="+", default=["TIN", "CNX", "ALX", "OWN"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--gp-repetitions", type=int, default=25)
    parser.add_argument(
        "--policies", nargs="+", type=policy_named, default=policies(), metavar="NAME"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


def policy_named(name: str) -> Policy:
    """Return the policy of a name.

    Raises:
        ArgumentTypeError: If there is none.
    """
    for policy in policies():
        if policy.name == name:
            return policy
    names = ", ".join(repr(policy.name) for policy in policies())
    raise argparse.ArgumentTypeError(f"must be one of {names}, got {name!r}")


if __name__ == "__main__":
    main()
