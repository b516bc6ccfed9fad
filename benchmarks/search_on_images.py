"""Compare two ways to prune at the same budget in epochs, on images and in a CPU's size.

Every arm searches with each seed in a study of its own, so the same command goes on after a stop.
Seeds are paired: the first trials of both arms draw the same points.

    python -m benchmarks.search_on_images --data FOLDER --out search-on-images.json
    python -m benchmarks.search_on_images --preset quickstart --epochs 60 --out quickstart.json
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import optuna
import torch

ARMS: dict[str, dict[str, Any]] = {
    "percentile 75 from 50 %": {"search.pruner": "percentile"},
    "promotion at 10, 20, 40 %": {"search.pruner": "promotion"},
}


SMALLER: dict[str, dict[str, Any]] = {
    "tiny-imagenet-10": {"data.train_limit": 1500, "network.widths": [8, 16, 32]}
}
"""Settings by which a preset fits the time that six searches may take."""


class Arms:
    """Runs the searches and reads what they came to.

    Args:
        arguments: The command line.
        folder: Where the studies are kept.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self._arguments = arguments
        self._place = ["--storage", f"sqlite:///{folder}/study.db", "--runs", f"{folder}/runs"]
        self.called: list[str] = []

    def search(self, arm: str, seed: int) -> dict[str, Any]:
        """Run a search to its end; return its best value and what it spent."""
        name = f"{''.join(filter(str.isalnum, arm))}-{seed}"
        settings = {
            "search.budget": {"epochs": self._arguments.epochs},
            "data.confirm_fraction": 0,
            "seed": seed,
            **SMALLER.get(self._arguments.preset, {}),
            **ARMS[arm],
        }
        sets = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
        self._study(
            "run", "--preset", self._arguments.preset, "--name", name, "--skip-checks", *sets
        )
        rows = json.loads(self._study("trials", "--name", name, "--json"))
        states = [row["state"] for row in rows]
        best = max(row["value"] for row in rows if row["state"] == "complete")
        return {
            "arm": arm,
            "seed": seed,
            "best": best,
            "epochs": sum(row["epochs_done"] for row in rows),
            "trials": len(rows),
            "complete": states.count("complete"),
        }

    def _study(self, *words: str) -> str:
        self.called.append(shlex.join(["study", *words]))
        command = [sys.executable, "-P", "-m", "study", *words, *self._place]
        data = self._arguments.data
        environment = os.environ | ({} if data is None else {"STUDY_DATA": str(data)})
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(done.returncode)
        return done.stdout


def main() -> None:
    """Measure, print a row after each search, and write one JSON document."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        arms = Arms(arguments, arguments.folder or Path(temporary))
        rows = []
        for seed in range(arguments.seeds):
            for arm in ARMS:
                rows.append(arms.search(arm, seed))
                print(rows[-1], flush=True)
    summary = {arm: summarise([row for row in rows if row["arm"] == arm]) for arm in ARMS}
    for arm, found in summary.items():
        print(f"{arm:<26} {found['mean']:.4f} ± {found['standard_deviation']:.4f}")
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.search_on_images", *sys.argv[1:]]),
        "machine": {"cpu_cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {"torch": torch.__version__, "optuna": optuna.__version__},
        "rows": rows,
        "summary": summary,
        "studies": arms.called,
    }
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return mean and standard deviation of the best values over the seeds."""
    values = [row["best"] for row in rows]
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "standard_deviation": deviation}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--preset", default="tiny-imagenet-10")
    parser.add_argument("--data", type=Path, help="folder of Tiny ImageNet, where it is meant")
    parser.add_argument("--epochs", type=int, default=120, help="budget of each search")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keeps the studies, to go on after a stop")
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
