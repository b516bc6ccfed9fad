"""Baselines, beside which every result is shown.

Must not import torch: `study status` shows the best of them at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from dashboards.formatting import shows_top5
from storage.learned_baselines import find_baselines
from storage.records import Protocol
from storage.run_paths import DataPaths

Scores = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class BestBaseline:
    """The baseline of the highest validation macro-F1."""

    name: str
    macro_f1: float

    def __str__(self) -> str:
        return f"best baseline: validation macro-F1 {self.macro_f1:.4f}, {self.name}"


def known_baselines(protocol: Protocol, runs: Path) -> dict[str, Mapping[str, float]]:
    """Return the baselines of a study: guesses, and cheap learners where they were measured.

    Args:
        protocol: The stored configuration.
        runs: The folder of all runs.

    Raises:
        StorageError: If the file of what was learned is damaged.
    """
    guesses: Mapping[str, Mapping[str, float]] = protocol.facts["baselines"]
    learned = find_baselines(DataPaths(runs, protocol.facts["data_fingerprint"]))
    return {**guesses, **(learned.scores if learned else {})}


def best_of(baselines: Scores) -> BestBaseline:
    """Return the best baseline, the first of equals."""
    name = max(baselines, key=lambda name: baselines[name]["macro_f1"])
    return BestBaseline(name, baselines[name]["macro_f1"])


def baselines_table(
    baselines: Scores, *, n_train: int, n_validation: int, n_classes: int
) -> Table:
    """Return baselines for a terminal.

    Args:
        baselines: Scores by name.
        n_train: Training images that were learned from.
        n_validation: Validation images that the scores are measured on.
        n_classes: Classes of the images.
    """
    table = Table(
        title=f"learned from {n_train:,} training images, measured on {n_validation:,} validation "
        "images",
        box=box.SIMPLE,
    )
    table.add_column("baseline")
    headings: dict[str, Any] = {"macro-F1": "macro_f1", "accuracy": "accuracy"}
    if shows_top5(n_classes):
        headings["top-5 accuracy"] = "top5_accuracy"
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, scores in baselines.items():
        table.add_row(name, *(f"{scores[key]:.4f}" for key in headings.values()))
    return table
