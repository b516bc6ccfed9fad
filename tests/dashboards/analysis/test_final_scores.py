from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dashboards.analysis.final_scores import (
    Predicted,
    TestedRun,
    describe_group,
    score_group,
)
from model.macro_f1_influence import macro_f1
from model.standard_errors import macro_f1_interval

N_IMAGES = 400
N_CLASSES = 4


def build_run(slot: int, role: str, part_right: float) -> tuple[TestedRun, Predicted]:
    """Return a run that knows a part of the images, mostly those of the runs of its role."""
    random, of_role = np.random.default_rng(slot), np.random.default_rng(len(role))
    labels_N = np.arange(N_IMAGES) % N_CLASSES
    wrong_N = (labels_N + random.integers(1, N_CLASSES, N_IMAGES)) % N_CLASSES
    is_right_N = (of_role.random(N_IMAGES) < part_right) ^ (random.random(N_IMAGES) < 0.05)
    predicted_N = np.where(is_right_N, labels_N, wrong_N)
    score, accuracy = macro_f1(labels_N, predicted_N), float(np.mean(labels_N == predicted_N))
    run = TestedRun(slot, role, 100 + slot, 3 if role == "winner" else 0, 0.5, score, accuracy)
    return run, Predicted(labels_N, predicted_N)


def confusion_of(found: Predicted) -> NDArray[np.int64]:
    confusion_CC = np.zeros((N_CLASSES, N_CLASSES), dtype=np.int64)
    np.add.at(confusion_CC, (found.labels_N, found.predicted_N), 1)
    return confusion_CC


def grouped(*roles: tuple[str, float]) -> dict[str, Any]:
    both = [build_run(slot, *each) for slot, each in enumerate(roles)]
    runs, predictions = zip(*both, strict=True)
    return score_group(runs, predictions, confusion_of(predictions[0]))


def test_group_has_means_deviations_and_the_gain_by_its_parts() -> None:
    group = grouped(("winner", 0.8), ("winner", 0.84), ("control", 0.6), ("control", 0.64))
    scores = [run["test_macro_f1"] for run in group["runs"]]
    winner, control, gain = group["winner"], group["control"], group["gain"]
    assert winner["macro_f1"] == pytest.approx(np.mean(scores[:2]))
    assert control["macro_f1_deviation"] == pytest.approx(np.std(scores[2:], ddof=1))
    low, high = gain["interval_90"]
    assert low < gain["macro_f1"] < high
    assert gain["seeds_error"] > 0 and gain["images_error"] > 0
    lines = describe_group({"group": group})
    assert [line.split(":")[0] for line in lines[:3]] == [
        "winner, mean of 2 seeds",
        "control, mean of 2 seeds",
        "95 % interval of the macro-F1 of the first run",
    ]
    assert lines[3].startswith("the search gained +") and "points of macro-F1" in lines[3]
    assert " from seeds, " in lines[3] and lines[3].endswith(" from images)")


def test_one_seed_of_each_has_the_interval_of_the_images_alone_and_says_so() -> None:
    group = grouped(("winner", 0.8), ("control", 0.6))
    gain, arm = group["gain"], group["winner"]
    assert arm["macro_f1_deviation"] is None
    assert gain["seeds_error"] is None
    low, high = gain["interval_90"]
    # Of Student's t with 399 degrees of freedom.
    reach = 1.6487 * gain["images_error"]
    assert (high - low) / 2 == pytest.approx(reach, rel=1e-4)
    assert describe_group({"group": group})[-1].endswith("the spread over seeds is unknown)")


def test_group_of_one_run_has_its_interval_and_no_gain() -> None:
    run, found = build_run(0, "winner", 0.7)
    group = score_group([run], [found], confusion_of(found))
    assert group["control"] is None and group["gain"] is None
    low, high = group["macro_f1_interval_95"]
    assert (low, high) == macro_f1_interval(confusion_of(found))
    assert low < run.test_macro_f1 < high
    (line,) = describe_group({"group": group})
    assert line.startswith("95 % interval of the macro-F1 of the first run: 0.")


def test_metrics_of_an_early_version_say_nothing_of_a_group() -> None:
    assert describe_group({"test": {"macro_f1": 0.5}}) == []
