"""Repeat the reference's studies by hand as commands, on ten real classes in the size of a CPU.

A learning-rate range test and the sweep of learning rate by weight decay, the grid of dropout by
blocks, one-factor comparisons, the reference's defect, and its recipe beside a modern one. Each is
a study of its own, so the same command goes on after a stop. Started in the project's folder.

    python -m benchmarks.protocol --data FOLDER --out protocol.json
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

FILES = Path("benchmarks/protocol")
SIZE = {
    "data.n_classes": 10,
    "data.train_limit": 1500,
    "data.confirm_fraction": 0,
    "data.image_size": 32,
    "network.widths": [8, 16, 32],
    "final.image_size": 32,
    "workers.n_workers": 2,
}
SHORT = {"search.n_epochs": 5, "optimization.warmup_epochs": 1, "optimization.batch_size": 64}
# Warm-up and cosines are a tenth of the reference's, as the epochs are.
LONG = {
    "search.n_epochs": 10,
    "search.patience_epochs": None,
    "optimization.warmup_epochs": 0.5,
    "optimization.restart_epochs": 2,
}


class Commands:
    """Calls `study` and keeps what it was called with."""

    def __init__(self, data: str) -> None:
        self._data = data
        self.called: list[str] = []

    def run(self, *arguments: str, settings: dict[str, Any] | None = None) -> str:
        """Run a command to its end and return what it printed, which is shown too."""
        given = SIZE | (settings or {})
        sets = [f"{key}={json.dumps(value)}" for key, value in given.items()]
        options = [part for one in sets for part in ("--set", one)] if settings else []
        words = [*arguments, *options]
        self.called.append(shlex.join(["study", *words]))
        print(f"\n$ {self.called[-1]}", flush=True)
        command = [sys.executable, "-P", "-m", "study", *words]
        shown: list[str] = []
        data = {"STUDY_DATA": self._data}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | data
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                shown.append(line)
                if "--json" not in words:
                    print(line, end="", flush=True)
        if process.returncode != 0:
            sys.exit(process.returncode)
        return "".join(shown)

    def trials(self, name: str) -> list[dict[str, Any]]:
        """Return all trials of a study."""
        rows: list[dict[str, Any]] = json.loads(self.run("trials", "--name", name, "--json"))
        return rows


def complete(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with a result to compare; what diverged has none, or an early one."""
    return [row for row in rows if row["state"] == "complete"]


def by_label(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return mean and standard deviation over the complete seeds of each label."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["attributes"]["label"]].append(row)
    return {label: _over_seeds(members) for label, members in groups.items()}


def _over_seeds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    values = [row["value"] for row in complete(rows)]
    return {
        "mean": statistics.mean(values) if values else None,
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
        "values": values,
        "not_complete": len(rows) - len(values),
    }


def by_point(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings of each complete row with its score."""
    return [row["params"] | {"macro_f1": row["value"]} for row in complete(rows)]


def measure(commands: Commands) -> dict[str, Any]:
    """Run everything that has not been run, and return the figures."""
    start = time.monotonic()
    short = ("--preset", "tiny-imagenet-10")
    tested = json.loads(
        commands.run("lr-range", *short, "--name", "protocol-range", "--json", settings=SHORT)
    )
    commands.run("sweep", "lr-wd", *short, "--name", "protocol-sweep", settings=SHORT)
    sweep = commands.trials("protocol-sweep")
    best = max(by_point(sweep), key=lambda point: point["macro_f1"])
    best_rate = best["optimization.learning_rate"]
    suggested = tested["suggested_rate"]
    commands.run("grid", *short, "--name", "protocol-grid", settings=SHORT)
    grid = commands.trials("protocol-grid")
    commands.run("compare", *short, "--name", "protocol-compare", "--seeds", "2", settings=SHORT)
    recipes = {}
    for name in ("defect", "recipes"):
        study = f"protocol-{name}"
        points = ("--preset", "reference-a", "--config", str(FILES / f"{name}.yaml"))
        commands.run("grid", *points, "--name", study, settings=LONG)
        recipes[name] = by_label(commands.trials(study))
    return {
        "suggested_rate": suggested,
        "best_rate_of_sweep": best_rate,
        "ratio": suggested / best_rate,
        "sweep": by_point(sweep),
        "grid": by_point(grid),
        "not_complete": {
            name: len(rows) - len(complete(rows))
            for name, rows in (("sweep", sweep), ("grid", grid))
        },
        "compare": by_label(commands.trials("protocol-compare")),
        **recipes,
        "seconds_of_this_call": time.monotonic() - start,
    }


def main() -> None:
    """Measure what is missing, print it and write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", required=True, help="Tiny ImageNet: a hub id or a folder.")
    parser.add_argument("--out", type=Path, default=Path("runs/protocol.json"))
    arguments = parser.parse_args()
    commands = Commands(arguments.data)
    is_folder = Path(arguments.data).is_dir()
    figures = measure(commands)
    report = {
        # Where a folder lies is nobody's business.
        "command": f"make protocol DATA={'FOLDER' if is_folder else arguments.data}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "commands": commands.called,
        **figures,
    }
    print(json.dumps(figures, indent=2))
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"the figures are in {arguments.out}")


if __name__ == "__main__":
    main()
