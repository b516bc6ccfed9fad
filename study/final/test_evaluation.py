"""The one look of a final run at the test split, and what is kept of it.

Everything that later views show of test images is written here, before the database says that
the test is through: a test that is cut off is taken again, and writes the same files.
"""

import csv
import io
import json
from dataclasses import asdict, astuple, dataclass, fields, replace
from typing import Any

from optuna.trial import FrozenTrial
from torch import Tensor

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
from model.evaluation import ClassReport, Collector, Evaluation, per_class_report
from model.mistakes import MistakeCollector
from model.predictions import PredictionCollector
from model.standard_errors import accuracy_standard_error, macro_f1_standard_error
from storage.atomic_files import remove, write_atomically
from storage.checkpoints import file_sha256, load_checkpoint
from storage.optuna_rows import BEST_EPOCH
from storage.run_paths import TrialPaths
from storage.test_evaluations import (
    TestEvaluation,
    claim_tests,
    finish_tests,
    read_tests,
)
from study.errors import StudyError
from study.final.evaluate import evaluate_checkpoint
from study.final.predictions import save_predictions
from study.final.unknown_test_results import forgotten_tests, reject_forgotten
from study.session.session import StudySession
from study.trial.identity import Identity


@dataclass(frozen=True)
class FinalResult:
    """What a final run has shown.

    Attributes:
        paths: Its files.
        searched_trial: Number of the trial that won the search.
        metrics: `validation` and `test`, each with loss, accuracy, top5_accuracy, macro_f1.
        was_done: Whether the test had been taken before this call.
    """

    paths: TrialPaths
    searched_trial: int
    metrics: dict[str, Any]
    was_done: bool


def take_test(final: StudySession, prepared: PreparedData, run: FrozenTrial) -> FinalResult:
    """Evaluate the best weights on validation, then, if not done before, on the test split.

    Args:
        final: The queue of final runs.
        prepared: Its data.
        run: The final run, complete and leased by this process.

    Raises:
        StudyError: If the weights are not those of the best epoch, or of another run.
        ProtocolError: If a test of the study was taken that the database does not know.
        StorageError: If other weights were tested for this run.
    """
    paths = final.trial_paths(int(run.user_attrs["slot"]))
    searched_trial = int(run.user_attrs["searched_trial"])
    database = final.storage_handle.database
    checkpoint = load_checkpoint(paths.best)
    identity = Identity.of_trial(final, run)
    foreign = identity.why_foreign(checkpoint)
    if foreign is not None:
        raise StudyError(
            f"{paths.best} must hold the weights of this final run ({foreign}): train anew with "
            "`study final --reopen REASON`"
        )
    best_epoch = run.user_attrs[BEST_EPOCH]
    if checkpoint["epoch"] != best_epoch:
        raise StudyError(
            f"{paths.best} must hold the best epoch {best_epoch}, it holds {checkpoint['epoch']}: "
            "the weights were overwritten; train anew with `study final --reopen REASON`"
        )
    reject_forgotten(forgotten_tests(final))
    sha256 = file_sha256(paths.best)
    (claim,) = claim_tests(
        database,
        [
            TestEvaluation(
                trial_id=run._trial_id,
                study_name=final.searched_name,
                searched_trial=searched_trial,
                reason=run.user_attrs["test_reason"],
                checkpoint_sha256=sha256,
            )
        ],
    )
    if claim.metrics is not None and paths.metrics.is_file():
        metrics = json.loads(paths.metrics.read_text())
        return FinalResult(paths, searched_trial, metrics, was_done=True)
    execution = final.config.execution
    validation = evaluate_checkpoint(checkpoint, prepared.validation(), execution=execution)
    examples = prepared.test()
    mistakes, predictions = MistakeCollector(), PredictionCollector()
    collect = _collect_by(mistakes, predictions)
    test = evaluate_checkpoint(checkpoint, examples, execution=execution, collect=collect)
    metrics = {
        "searched_trial": searched_trial,
        "hyperparameters": run.params,
        **asdict(identity.run),
        "checkpoint_sha256": sha256,
        "best_epoch": checkpoint["epoch"],
        "flip_average": final.config.evaluation.flip_average,
        "validation": asdict(validation.metrics),
        "test": asdict(test.metrics),
        **_standard_errors(test),
        "n_test_images": len(examples.labels_N),
        "n_classes": prepared.n_classes,
        "n_validation_classes": validation.n_classes_present,
        "n_test_classes": test.n_classes_present,
        "n_test_evaluations": len(read_tests(database, final.searched_name)),
    }
    _write_mistakes(paths, _pictured(mistakes, examples, prepared), prepared)
    _write_classes(paths, test, list(prepared.class_names))
    save_predictions(paths.predictions, predictions, prepared.class_names)
    _write_events(paths, test, after_epoch=len(run.intermediate_values))
    write_atomically(paths.metrics, json.dumps(metrics, indent=2).encode())
    finish_tests(database, {run._trial_id: asdict(test.metrics)})
    return FinalResult(paths, searched_trial, metrics, was_done=False)


def _collect_by(*collectors: Collector) -> Collector:
    def collect(logits_BC: Tensor, labels_B: Tensor) -> None:
        for collector in collectors:
            collector(logits_BC, labels_B)

    return collect


def _standard_errors(test: Evaluation) -> dict[str, float]:
    confusion = test.confusion_CC.numpy()
    return {
        "test_accuracy_standard_error": accuracy_standard_error(
            test.metrics.accuracy, int(confusion.sum())
        ),
        "test_macro_f1_standard_error": macro_f1_standard_error(confusion),
    }


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
