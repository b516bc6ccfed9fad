"""Folders that say the class of every picture give a score; broken pictures are no part of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, top_k_accuracy_score

from data.picture_stream import StreamedPicture
from data.sources.given_pictures import find_given_pictures
from model.standard_errors import accuracy_standard_error, macro_f1_standard_error
from study.errors import StudyError
from study.prediction.predictions import PredictedBatch
from study.prediction.scoring import Scorer, choose_labels, score_lines
from tests.data.sources.layouts import touch

NAMES = ("ant", "bee", "cat")
PIXELS = np.zeros((1, 1, 3), np.uint8)


def chosen(*names: Path, is_required: bool = False) -> tuple[list[int] | None, str]:
    given = find_given_pictures(map(str, names))
    return choose_labels(given, NAMES, is_required=is_required)


def test_class_folders_below_every_named_folder_give_labels(tmp_path: Path) -> None:
    touch(tmp_path, "a/bee/1.png", "a/ant/2.png", "b/x/cat/3.png")
    assert chosen(tmp_path / "a", tmp_path / "b") == ([0, 1, 2], "")


def test_pictures_without_class_folders_are_silently_not_scored(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "bee/2.png")
    assert chosen(tmp_path / "bee") == (None, "")
    assert chosen(tmp_path / "bee", tmp_path / "1.png") == (None, "")


def test_unknown_folders_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "bee/1.png", "Ant/2.png", "dog/3.png", *(f"x{n}/4.png" for n in range(6)))
    labels, note = chosen(tmp_path)
    assert labels is None
    assert note.startswith(f"not scored: no class is called like '{tmp_path}/Ant', '{tmp_path}/d")
    assert note.endswith(f"'{tmp_path}/x2' and 3 more")


def test_required_classes_may_lie_anywhere_and_are_all_there(tmp_path: Path) -> None:
    touch(tmp_path, "bee/1.png", "cat/2.png", "dog/3.png")
    named = (tmp_path / "cat" / "2.png", tmp_path / "bee")
    assert chosen(*named, is_required=True) == ([2, 1], "")
    with pytest.raises(
        StudyError, match=r"called like a class \(ant, bee, cat\), those in '.*dog'"
    ):
        chosen(tmp_path, is_required=True)


def batch(*rows: list[float] | None) -> PredictedBatch:
    """A batch with these logits; None stands for a broken picture."""
    pictures = [
        StreamedPicture("broken", None, "why") if row is None else StreamedPicture("whole", PIXELS)
        for row in rows
    ]
    whole = [row for row in rows if row is not None]
    return PredictedBatch(pictures, torch.tensor(whole).reshape(len(whole), 8))


def test_score_is_that_of_scikit_learn_over_the_whole_pictures() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(40, 8)).astype(np.float32)
    labels = random.integers(0, 6, 40)  # two classes have no picture
    broken = {3, 20, 39}
    rows = [None if n in broken else logits[n].tolist() for n in range(40)]
    scorer = Scorer(labels.tolist(), n_classes=8, device=torch.device("cpu"))
    for start, end in ((0, 4), (4, 20), (20, 21), (21, 40)):
        scorer.add(batch(*rows[start:end]))
    evaluation = scorer.evaluation()
    assert evaluation is not None
    kept = [n for n in range(40) if n not in broken]
    true, scores = labels[kept], logits[kept]
    predicted = scores.argmax(axis=1)
    present = sorted(set(true))
    assert evaluation.metrics.accuracy == pytest.approx(accuracy_score(true, predicted))
    assert evaluation.metrics.top5_accuracy == pytest.approx(
        top_k_accuracy_score(true, scores, k=5, labels=range(8))
    )
    assert evaluation.metrics.macro_f1 == pytest.approx(
        f1_score(true, predicted, labels=present, average="macro", zero_division=0)
    )
    score, errors = score_lines(evaluation)
    assert score.startswith(
        f"score: macro-F1 {evaluation.metrics.macro_f1:.4f} over the 6 classes"
    )
    assert errors == (
        "standard error: macro-F1 "
        f"{macro_f1_standard_error(evaluation.confusion_CC.numpy()):.4f}, accuracy "
        f"{accuracy_standard_error(evaluation.metrics.accuracy, 37):.4f}, top-5 accuracy "
        f"{accuracy_standard_error(evaluation.metrics.top5_accuracy, 37):.4f} (37 images)"
    )


def test_nothing_but_broken_pictures_has_no_score() -> None:
    scorer = Scorer([0, 1], n_classes=8, device=torch.device("cpu"))
    scorer.add(batch(None, None))
    assert scorer.evaluation() is None
