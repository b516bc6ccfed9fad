"""The files of one final run's test, from which later views show it without the test split.

A test that is cut off is taken again, and writes the same files.
"""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

from dashboards.analysis.confusion import save_confusion_csv
from dashboards.figures.base import drawable_names, save_png
from dashboards.figures.confusion_matrix import confusion_matrix_figure
from dashboards.figures.mistakes import (
    MOST_MISTAKES,
    PicturedMistake,
    mistakes_figure,
    save_mistakes,
)
from dashboards.tensorboard.writer import write_test
from data.image_cache import Examples, PreparedData
from model.evaluation import ClassReport, Evaluation, per_class_report
from model.mistakes import MistakeCollector
from model.predictions import PredictionCollector
from storage.atomic_files import remove, write_atomically
from storage.run_paths import TrialPaths
from study.trial.predictions import save_predictions


@dataclass(frozen=True)
class Tested:
    """What the test of a final run has found.

    Attributes:
        test: Metrics and confusion matrix.
        mistakes: Its mistakes.
        predictions: What was predicted for each image.
    """

    test: Evaluation
    mistakes: MistakeCollector
    predictions: PredictionCollector


def write_tested(
    paths: TrialPaths,
    tested: Tested,
    examples: Examples,
    prepared: PreparedData,
    *,
    after_epoch: int,
) -> None:
    """Write what the test of a final run has found, all but its metrics.

    Args:
        paths: Its files.
        tested: What was found.
        examples: The test images.
        prepared: The data.
        after_epoch: Epochs of the training, after which TensorBoard shows it.
    """
    _write_mistakes(paths, _pictured(tested.mistakes, examples, prepared), prepared)
    _write_classes(paths, tested.test, list(prepared.class_names))
    save_predictions(paths.predictions, tested.predictions, prepared.class_names)
    _write_events(paths, tested.test, after_epoch=after_epoch)


def write_metrics(paths: TrialPaths, metrics: Mapping[str, Any]) -> None:
    """Write the metrics of a final run, the last of its files."""
    write_atomically(paths.metrics, json.dumps(metrics, indent=2).encode())


def _pictured(
    mistakes: MistakeCollector, examples: Examples, prepared: PreparedData
) -> list[PicturedMistake]:
    class_names, names = prepared.class_names, prepared.test_names()
    return [
        PicturedMistake(
            index=mistake.index,
            true_class=class_names[mistake.label],
            predicted_class=class_names[mistake.predicted],
            probability=mistake.probability,
            picture=examples.images_NHWC[mistake.index],
            file=names[mistake.index],
        )
        for mistake in mistakes.surest(MOST_MISTAKES)
    ]


def _write_mistakes(
    paths: TrialPaths, mistakes: list[PicturedMistake], prepared: PreparedData
) -> None:
    if mistakes:
        shown = dict(zip(prepared.class_names, drawable_names(prepared.class_names), strict=True))
        drawn = [
            replace(
                mistake,
                true_class=shown[mistake.true_class],
                predicted_class=shown[mistake.predicted_class],
            )
            for mistake in mistakes
        ]
        save_png(mistakes_figure(drawn), paths.mistakes_picture)
    else:
        remove(paths.mistakes_picture)
    save_mistakes(paths.mistakes, mistakes)


def _write_classes(paths: TrialPaths, test: Evaluation, class_names: list[str]) -> None:
    confusion = test.confusion_CC.numpy()
    save_confusion_csv(paths.confusion_csv, confusion, class_names)
    figure = confusion_matrix_figure(confusion, drawable_names(class_names))
    save_png(figure, paths.confusion_picture)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(field.name for field in fields(ClassReport))
    rows.writerows(astuple(entry) for entry in per_class_report(test.confusion_CC, class_names))
    write_atomically(paths.per_class, text.getvalue().encode())


def _write_events(paths: TrialPaths, test: Evaluation, *, after_epoch: int) -> None:
    """Show the test in the TensorBoard run of the training."""
    pictures = {
        "test/confusion_matrix": paths.confusion_picture,
        "test/mistakes": paths.mistakes_picture,
    }
    write_test(
        paths.tensorboard,
        after_epoch=after_epoch,
        metrics={
            "test/macro_f1": test.metrics.macro_f1,
            "test/accuracy": test.metrics.accuracy,
        },
        pictures={tag: path for tag, path in pictures.items() if path.is_file()},
    )
