"""How often a confirmation claims what is not so, and finds what is: simulated searches.

The code that selects candidates and judges them is the product's; simulated are the scores. With
equal settings every claim is false. With unequal ones, recorded on Tiny ImageNet, the default lies
a point of macro-F1 below the best trial.

    python -m benchmarks.confirmation --curves FOLDER --out confirmation.json
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning

from benchmarks.recorded_curves import Table, read_tables
from benchmarks.simulated_scores import POINT, Images, InfinitelyMany, Searched, search
from dashboards.analysis.confirmation.selection import Candidate, choose
from dashboards.analysis.confirmation.verdict import judge
from storage.trial_rows import by_value
from study.configuration.config import Request, StudyConfig
from study.confirmation.candidates import distinct

DEVIATIONS = (0.3, 0.6, 1.0)
"""Of macro-F1 over seeds, in points."""
GAP = 1.0
"""By how many points the default lies below the best trial, where settings differ."""
TABLE = "TIN"
"""The recorded scores that are searched."""
N_TRIALS = 20


@dataclass(frozen=True)
class Plan:
    """A preset's plan of confirmation.

    Attributes:
        preset: Whose plan it is.
        n_images: Confirmation images.
        n_classes: Of the images.
    """

    preset: str
    n_images: int
    n_classes: int

    def config(self) -> StudyConfig:
        """Return the preset's configuration."""
        return Request(preset=self.preset).resolve()


PLANS = {
    "GPU": Plan("tiny-imagenet", n_images=5000, n_classes=200),
    "CPU": Plan("tiny-imagenet-10", n_images=500, n_classes=10),
}


@dataclass(frozen=True)
class Case:
    """What is simulated.

    Attributes:
        plan: Name of the plan.
        gap: In points; 0: all settings are equal.
        deviation: Over seeds, in points.
        image_part: Part of the plan's confirmation images that there are; 0: scores as on
            infinitely many.
    """

    plan: str
    gap: float
    deviation: float
    image_part: float


@dataclass(frozen=True)
class Outcome:
    """What one confirmation came to.

    Attributes:
        is_claimed: Whether the winner was called better than the default.
        is_covered: Whether the 90 % interval held the true difference.
        is_best: Whether the winner is the truly best trial of the search.
        was_best: Whether the trial of the best search score was.
        error: Standard error of the difference, in points.
    """

    is_claimed: bool
    is_covered: bool
    is_best: bool
    was_best: bool
    error: float


def cases() -> Iterator[Case]:
    """Yield what is simulated: claims that are false, then those that are right."""
    for plan, deviation, part in product(PLANS, DEVIATIONS, (1.0, 0.5)):
        yield Case(plan, 0.0, deviation, part)
    for plan, deviation, part in product(PLANS, DEVIATIONS, (0.0, 1.0)):
        yield Case(plan, GAP, deviation, part)


def confirm(
    searched: Searched, case: Case, config: StudyConfig, random: np.random.Generator
) -> Outcome:
    """Confirm a search once, by the plan of its preset.

    Args:
        searched: The search.
        case: What is simulated.
        config: Of the preset.
        random: Draws seeds and images.
    """
    settings, plan = config.confirm, PLANS[case.plan]
    ordered = by_value(list(searched.rows))
    chosen = choose(
        [
            Candidate(
                number=row.number,
                search_score=row.value or 0.0,
                scores=tuple(
                    POINT * (searched.qualities[row.number] + case.deviation * draw)
                    for draw in random.standard_normal(settings.selection_seeds)
                ),
                n_failed=0,
                cost=1,
            )
            for row in distinct(ordered, config, most=settings.candidates)
        ]
    )
    if chosen is None:
        raise RuntimeError("no run of a simulation fails")
    quality = searched.qualities[chosen.number]
    n_images = round(plan.n_images * case.image_part)
    images = Images(n_images, plan.n_classes, random) if n_images else InfinitelyMany(random)
    arms = [
        images.runs(one, settings.verdict_seeds, deviation=case.deviation)
        for one in (quality, 0.0)
    ]
    verdict = judge(arms[0], arms[1], alpha=settings.alpha, margin=settings.margin)
    return Outcome(
        is_claimed=verdict.is_better,
        is_covered=verdict.low <= quality * POINT <= verdict.high,
        is_best=quality == searched.best,
        was_best=searched.qualities[ordered[0].number] == searched.best,
        error=verdict.error / POINT,
    )


def simulate(case: Case, table: Table, *, n_runs: int, n_searches: int) -> list[Outcome]:
    """Confirm so many times; searches are used several times where there are fewer of them."""
    config = PLANS[case.plan].config()
    random = np.random.default_rng(0)
    found = [
        search(table, N_TRIALS, gap=case.gap, deviation=case.deviation, seed=seed)
        for seed in range(n_searches)
    ]
    return [confirm(found[run % n_searches], case, config, random) for run in range(n_runs)]


def summarise(case: Case, outcomes: list[Outcome]) -> Mapping[str, object]:
    """Return the shares of some outcomes, with the standard error of the claims."""
    n_runs = len(outcomes)
    claimed = statistics.fmean(one.is_claimed for one in outcomes)
    return {
        **asdict(case),
        "runs": n_runs,
        "claimed": claimed,
        "claimed_standard_error": (claimed * (1 - claimed) / n_runs) ** 0.5,
        "covered": statistics.fmean(one.is_covered for one in outcomes),
        "finds_best": statistics.fmean(one.is_best for one in outcomes),
        "best_without": statistics.fmean(one.was_best for one in outcomes),
        "error_points": statistics.fmean(one.error for one in outcomes),
    }


def main() -> None:
    """Simulate every case, print a row of each, and write one JSON document."""
    arguments = parse_arguments()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", ExperimentalWarning)
    table = read_tables(arguments.curves)[TABLE]()
    rows = []
    print("plan  gap  seeds  images  claimed      covered  best  (search)  error")
    for case in cases():
        n_runs = arguments.runs if case.gap == 0 else arguments.runs // 2
        row = summarise(case, simulate(case, table, n_runs=n_runs, n_searches=arguments.searches))
        rows.append(row)
        print(
            f"{case.plan:<5} {case.gap:3.1f}   {case.deviation:3.1f}    {case.image_part:3.1f}"
            f"     {row['claimed']:.3f} ± {row['claimed_standard_error']:.3f}"
            f"  {row['covered']:.3f}   {row['finds_best']:.2f}   {row['best_without']:.2f}"
            f"     {row['error_points']:.2f}",
            flush=True,
        )
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.confirmation", *sys.argv[1:]]),
        "machine": {"cpu_cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {"numpy": np.__version__, "optuna": optuna.__version__},
        "rows": rows,
    }
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--curves", type=Path, required=True, help="folder of recorded curves")
    parser.add_argument("--runs", type=int, default=2000, help="of each case; half where gap > 0")
    parser.add_argument("--searches", type=int, default=100, help="different ones of each case")
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
