"""What final runs of several seeds, and those of a control, say together about the test images.

Computed when the test is taken, stored in `metrics.json` of the first run, and shown from there.
Must not import torch.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from dashboards.analysis.confirmation.verdict import CONFIDENCE, JudgedRun, images_part, judge
from model.macro_f1_influence import macro_f1_influence
from model.standard_errors import accuracy_standard_error, macro_f1_interval
from storage.final_groups import CONTROL, WINNER

ALPHA = 0.05
FEWEST_SEEDS = 2
"""Of each configuration, below which the spread over seeds is unknown."""


@dataclass(frozen=True)
class TestedRun:
    """A final run and its test.

    Attributes:
        slot: Its position in the queue.
        role: winner or control.
        seed: Of its weights, order and augmentation.
        searched_trial: Number of the trial that it repeats; -1 where there is none.
        validation_macro_f1: Of the tested weights.
        test_macro_f1: Likewise.
        test_accuracy: Likewise.
    """

    __test__ = False  # pytest, this is no test

    slot: int
    role: str
    seed: int
    searched_trial: int
    validation_macro_f1: float
    test_macro_f1: float
    test_accuracy: float


@dataclass(frozen=True)
class Predicted:
    """What a final run predicted for each test image, in the order of the split.

    Attributes:
        labels_N: The class of each image.
        predicted_N: The class predicted for it.
    """

    labels_N: NDArray[np.int64]
    predicted_N: NDArray[np.int64]


def score_group(
    runs: Sequence[TestedRun],
    predictions: Sequence[Predicted],
    confusion_CC: NDArray[np.int64],
) -> dict[str, Any]:
    """Return what the runs of a group have shown, as JSON values.

    Args:
        runs: The first run of the winner first.
        predictions: Of each run, of the same images.
        confusion_CC: Confusion matrix of the first run, rows are true classes.
    """
    judged = {
        role: [
            JudgedRun(run.test_macro_f1, macro_f1_influence(found.labels_N, found.predicted_N))
            for run, found in zip(runs, predictions, strict=True)
            if run.role == role
        ]
        for role in (WINNER, CONTROL)
    }
    n_images = len(predictions[0].labels_N)
    return {
        "runs": [asdict(run) for run in runs],
        WINNER: _summarise(runs, WINNER, n_images),
        CONTROL: _summarise(runs, CONTROL, n_images) if judged[CONTROL] else None,
        "macro_f1_interval_95": list(macro_f1_interval(confusion_CC)),
        "gain": _gain(judged[WINNER], judged[CONTROL]) if judged[CONTROL] else None,
    }


def _summarise(runs: Sequence[TestedRun], role: str, n_images: int) -> dict[str, Any]:
    scores = [run.test_macro_f1 for run in runs if run.role == role]
    accuracies = [run.test_accuracy for run in runs if run.role == role]
    accuracy = statistics.fmean(accuracies)
    return {
        "n_runs": len(scores),
        "macro_f1": statistics.fmean(scores),
        "macro_f1_deviation": _deviation(scores),
        "accuracy": accuracy,
        "accuracy_deviation": _deviation(accuracies),
        "accuracy_standard_error": accuracy_standard_error(accuracy, n_images),
    }


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) >= FEWEST_SEEDS else None


def _gain(winner: Sequence[JudgedRun], control: Sequence[JudgedRun]) -> dict[str, Any]:
    """Return the difference of the means with its 90 % interval, by its two parts.

    Where one has a single run, the spread over seeds is unknown, and the interval has only what
    other images would change for these weights.
    """
    if min(len(winner), len(control)) >= FEWEST_SEEDS:
        found = judge(winner, control, alpha=ALPHA, margin=0.0)
        return {
            "macro_f1": found.difference,
            "interval_90": [found.low, found.high],
            "seeds_error": found.seeds_error,
            "images_error": found.images_error,
        }
    means = [statistics.fmean(run.score for run in runs) for runs in (winner, control)]
    difference, error = means[0] - means[1], images_part(winner, control)
    degrees = len(winner[0].influence_N) - 1
    reach = float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * error
    return {
        "macro_f1": difference,
        "interval_90": [difference - reach, difference + reach],
        "seeds_error": None,
        "images_error": error,
    }


def describe_group(metrics: Mapping[str, Any]) -> list[str]:
    """Return what final runs have shown together, in lines; none for a run of an early version.

    Args:
        metrics: Content of `metrics.json` of the first run.
    """
    group = metrics.get("group")
    if group is None:
        return []
    lines = []
    low, high = group["macro_f1_interval_95"]
    if len(group["runs"]) > 1:
        lines += [
            describe_arm(role, group[role])
            for role in (WINNER, CONTROL)
            if group[role] is not None
        ]
    lines.append(f"95 % interval of the macro-F1 of the first run: {low:.4f} to {high:.4f}")
    if group["gain"] is not None:
        lines.append(describe_gain(group["gain"]))
    return lines


def describe_arm(role: str, arm: Mapping[str, Any]) -> str:
    """Return the mean scores of the runs of one configuration in a line."""
    n_runs = arm["n_runs"]
    over = "1 seed" if n_runs == 1 else f"mean of {n_runs} seeds"
    scores = [
        f"{name} {_with_deviation(arm[key], arm[f'{key}_deviation'])}"
        for key, name in (("macro_f1", "test macro-F1"), ("accuracy", "accuracy"))
    ]
    error = f"standard error over images {arm['accuracy_standard_error']:.4f}"
    return f"{role}, {over}: {', '.join(scores)} ({error})"


def _with_deviation(mean: float, deviation: float | None) -> str:
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def describe_gain(gain: Mapping[str, Any]) -> str:
    """Return what the search gained over the control, in a line."""
    low, high = (100 * end for end in gain["interval_90"])
    images = 100 * gain["images_error"]
    parts = (
        f"standard error {images:.2f} from the images; the spread over seeds is unknown"
        if gain["seeds_error"] is None
        else f"standard error {100 * gain['seeds_error']:.2f} from seeds, {images:.2f} from images"
    )
    return (
        f"the search gained {100 * gain['macro_f1']:+.2f} points of macro-F1 on the test set, "
        f"90 % interval {low:+.2f} to {high:+.2f} ({parts})"
    )
