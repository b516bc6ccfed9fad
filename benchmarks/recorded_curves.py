"""Recorded learning curves as tables: settings of a network, and the score after every epoch.

Each file has its own columns; see the README beside them.
"""

import csv
import gzip
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution

Setting = Mapping[str, float]
Space = dict[str, FloatDistribution | IntDistribution]


@dataclass(frozen=True)
class Table:
    """Settings and their curves.

    Attributes:
        name: Short name.
        space: The range of each hyperparameter.
        settings: Hyperparameters of each setting.
        curves: Of each setting, the best score so far after each of `n_steps` equal parts of its
            schedule, in points; shorter where it diverged.
        n_steps: Parts of every schedule.
    """

    name: str
    space: Space
    settings: Sequence[Setting]
    curves: list[NDArray[np.float64]]
    n_steps: int

    @cached_property
    def best(self) -> float:
        """Best score of a whole schedule."""
        return max(float(curve[-1]) for curve in self.curves if len(curve) == self.n_steps)


def normalised(space: Space, settings: Sequence[Setting]) -> NDArray[np.float64]:
    """Return settings in the unit cube: (settings, hyperparameters)."""
    columns = []
    for name, distribution in space.items():
        values_N = np.array([setting[name] for setting in settings], dtype=float)
        low, high = float(distribution.low), float(distribution.high)
        if distribution.log:
            values_N, low, high = np.log(values_N), math.log(low), math.log(high)
        columns.append((values_N - low) / (high - low))
    return np.stack(columns, axis=1)


def read_tables(folder: Path) -> dict[str, Callable[[], Table]]:
    """Return a reader of each table, by its short name."""
    return {
        "TIN": lambda: read_resnets(folder / "mit/tiny-imagenet-resnets.csv.gz"),
        "CNX": lambda: read_schedules("CNX", folder / "cc-by-sa/convnext-tiny-imagenet1k.csv.gz"),
        "ALX": lambda: read_schedules("ALX", folder / "cc-by-sa/alexnet-imagenet1k.csv.gz"),
        "OWN": lambda: read_own(folder / "own/tiny-imagenet-20-joint.csv.gz"),
    }


def read_resnets(file: Path) -> Table:
    """Read ResNets of 140 epochs each; settings that are there twice count as two.

    `step` is no hyperparameter here, as 652 of 670 settings share its value: a range of it would
    be searched for the sake of the few others.
    """
    names = ("num_blocks", "num_filters", "filter_size")
    rows = list(read_csv(file))
    settings = [{name: int(row[name]) for name in names} for row in rows]
    epochs = [f"accuracy_{epoch}" for epoch in range(1, 141)]
    curves = [best_so_far([float(row[name]) for name in epochs], 140, 20) for row in rows]
    return Table("TIN", ranges_of(settings, ("num_filters",)), settings, curves, 20)


def read_schedules(name: str, file: Path) -> Table:
    """Read settings with a schedule of their own length, of which many diverge."""
    logarithmic = ("learning_rate", "weight_decay")
    linear = ("momentum", "label_smoothing", "batch_size", "lr_peak_epoch", "epochs")
    rows = list(read_csv(file))
    settings = [{key: float(row[key]) for key in (*logarithmic, *linear)} for row in rows]
    curves = [
        best_so_far(
            [float(score) for score in row["top1_by_epoch"].split()], int(row["epochs"]), 20
        )
        for row in rows
    ]
    return Table(name, ranges_of(settings, logarithmic), settings, curves, 20)


def read_own(file: Path) -> Table:
    """Read points of this project's own space, 16 epochs each."""
    logarithmic = ("learning_rate", "weight_decay")
    whole = ("blocks_1", "blocks_2", "blocks_3")
    settings: dict[str, Setting] = {}
    scores: dict[str, list[float]] = defaultdict(list)
    for row in read_csv(file):
        values = {name: float(row[name]) for name in (*logarithmic, "dropout")}
        settings[row["setting"]] = values | {name: int(row[name]) for name in whole}
        scores[row["setting"]].append(float(row["validation_macro_f1"]))
    curves = [best_so_far(scores[name], 16, 16) for name in settings]
    points = list(settings.values())
    return Table("OWN", ranges_of(points, logarithmic), points, curves, 16)


def read_csv(file: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a compressed CSV file."""
    with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
        yield from csv.DictReader(text)


def best_so_far(scores: list[float], n_epochs: int, n_steps: int) -> NDArray[np.float64]:
    """Return the best score after each of equal parts of a schedule, in points.

    Args:
        scores: After every epoch, between 0 and 1; fewer than `n_epochs` where it diverged.
        n_epochs: Epochs of the schedule.
        n_steps: Parts.
    """
    best_E = 100 * np.maximum.accumulate(np.array(scores, dtype=float))
    ends = [math.ceil(n_epochs * step / n_steps) for step in range(1, n_steps + 1)]
    return np.array([best_E[end - 1] for end in ends if end <= len(best_E)])


def ranges_of(settings: Sequence[Setting], logarithmic: Sequence[str] = ()) -> Space:
    """Return the range that settings span, of whole numbers where all of them are."""
    space: Space = {}
    for name in settings[0]:
        values = [setting[name] for setting in settings]
        if all(isinstance(value, int) for value in values):
            low, high = int(min(values)), int(max(values))
            space[name] = IntDistribution(low, high, log=name in logarithmic)
        else:
            space[name] = FloatDistribution(min(values), max(values), log=name in logarithmic)
    return space
