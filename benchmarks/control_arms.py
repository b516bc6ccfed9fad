"""What a better test score is owed to: a defect mended, the recipe, the search.

Every arm is trained for equally many epochs on the same images of ten real classes and tested
once, each by `study final`. Each is a study of its own in the usual database, so the same command
goes on after a stop, and takes the search that `make study PRESET=tiny-imagenet-10` has made.

    python -m benchmarks.control_arms --data FOLDER --out control-arms.json
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dashboards.analysis.confirmation.verdict import JudgedRun, images_part
from model.macro_f1_influence import macro_f1, macro_f1_influence
from storage.configuration import StorageConfig
from storage.run_paths import RunPaths, TrialPaths
from study.configuration.config import Request
from study.trial.predictions import load_predictions

SEARCH = "tiny-imagenet-10"
REFERENCE = "reference-a"
COPIED = ("data.n_classes", "data.image_size", "data.confirm_fraction", "network.widths")
"""Settings of the search that the reference is given: the same images and width."""


@dataclass(frozen=True)
class Arm:
    """A recipe that is trained without a search.

    Attributes:
        name: What it is.
        study: Name of its study.
        preset: Whose recipe it is.
        changes: Other values of settings, by dotted key.
    """

    name: str
    study: str
    preset: str
    changes: Mapping[str, Any]


ARMS = (
    Arm(
        "reference, with its defect",
        "reference-defect",
        REFERENCE,
        {"augmentation.after_normalisation": True},
    ),
    Arm("reference, defect mended", "reference-mended", REFERENCE, {}),
    Arm("recipe of the preset, not searched", "recipe", SEARCH, {"search.space": "fixed"}),
)
"""Each differs from the one before by what its gain is owed to; the search comes last."""
SEARCHED = "recommended by search and confirmation"


class Arms:
    """Trains the arms and reads their tests.

    Args:
        data: The folder of Tiny ImageNet.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self.called: list[str] = []

    def train(self) -> None:
        """Train and test every arm that is not tested yet."""
        for arm in ARMS:
            given = [f"--set={key}={json.dumps(value)}" for key, value in _same(arm).items()]
            place = ("--preset", arm.preset, "--name", arm.study)
            self._study("run", *place, "--trials", "1", "--skip-checks", *given)
            self._study("final", "--name", arm.study)
        self._study("run", "--preset", SEARCH, "--name", SEARCH)
        self._study("confirm", "--name", SEARCH)
        self._study("final", "--name", SEARCH)

    def read(self) -> list[dict[str, Any]]:
        """Return a row for each arm: its test, and its gain over the arm before."""
        rows: list[dict[str, Any]] = []
        before: JudgedRun | None = None
        runs = StorageConfig().runs
        for name, study in (*((arm.name, arm.study) for arm in ARMS), (SEARCHED, SEARCH)):
            paths = RunPaths(runs, study).final(0)
            metrics = json.loads(paths.metrics.read_text())
            run = _judged(paths)
            rows.append(
                {
                    "arm": name,
                    "test_macro_f1": metrics["test"]["macro_f1"],
                    "standard_error": metrics["test_macro_f1_standard_error"],
                    "gain": None if before is None else run.score - before.score,
                    "gain_standard_error": before and images_part([run], [before]),
                    "searched_trial": metrics["searched_trial"],
                }
            )
            before = run
        return rows

    def _study(self, *words: str) -> None:
        self.called.append(shlex.join(["study", *words]))
        print(f"\n$ {self.called[-1]}", flush=True)
        command = [sys.executable, "-P", "-m", "study", *words]
        environment = os.environ | {"STUDY_DATA": str(self._data)}
        done = subprocess.run(command, env=environment)
        if done.returncode != 0:
            sys.exit(done.returncode)


def _same(arm: Arm) -> dict[str, Any]:
    """Return settings that give an arm the search's images, size and epochs."""
    values = Request(preset=SEARCH).resolve().model_dump(mode="json")
    copied = {key: values[key.split(".")[0]][key.split(".")[1]] for key in COPIED}
    final = values["final"]
    return {
        **copied,
        "final.n_epochs": final["n_epochs"],
        "final.image_size": final["image_size"],
        "search.n_epochs": 6,  # the searched trial itself is of no use here
        **arm.changes,
    }


def _judged(paths: TrialPaths) -> JudgedRun:
    names = json.loads((paths.model / "config.json").read_text())["class_names"]
    labels_N, predicted_N = load_predictions(paths.predictions, names)
    return JudgedRun(macro_f1(labels_N, predicted_N), macro_f1_influence(labels_N, predicted_N))


def main() -> None:
    """Train, print the table, and write one JSON document."""
    arguments = parse_arguments()
    arms = Arms(arguments.data)
    arms.train()
    rows = arms.read()
    for row in rows:
        gain = (
            "" if row["gain"] is None else f"{row['gain']:+.3f} ± {row['gain_standard_error']:.3f}"
        )
        score = f"{row['test_macro_f1']:.3f} ± {row['standard_error']:.3f}"
        print(f"{row['arm']:<40} {score}   {gain}")
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.control_arms", *sys.argv[1:]]),
        "machine": {"cpu_cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {"torch": torch.__version__},
        "rows": rows,
        "studies": arms.called,
    }
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of Tiny ImageNet")
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
