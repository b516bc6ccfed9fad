"""The one look of final runs at the test split, and what is kept of it.

The split is opened once for all runs that were queued together: all are claimed, evaluated and
written before the database says of any that its test is through. A test that is cut off is taken
again, with the same weights.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
from torch import Tensor

from dashboards.analysis.final_scores import Predicted, TestedRun, score_group
from data.image_cache import Examples, PreparedData
from model.configuration import DeviceConfig
from model.evaluation import Collector, Evaluation
from model.mistakes import MistakeCollector
from model.predictions import PredictionCollector
from model.standard_errors import accuracy_standard_error, macro_f1_standard_error
from storage.checkpoints import file_sha256, load_checkpoint
from storage.final_groups import SEARCHED_TRIAL, TEST_REASON, FinalGroup, role_of
from storage.optuna_rows import BEST_EPOCH
from storage.run_paths import TrialPaths
from storage.test_evaluations import (
    TestEvaluation,
    claim_tests,
    count_openings,
    finish_tests,
)
from study.errors import StudyError
from study.final.evaluate import evaluate_checkpoint
from study.final.queued_runs import slot_of
from study.final.test_files import Tested, write_metrics, write_tested
from study.final.unknown_test_results import forgotten_tests, reject_forgotten
from study.session.session import StudySession
from study.trial.identity import Identity


@dataclass(frozen=True)
class FinalResult:
    """What a final run has shown.

    Attributes:
        paths: Its files.
        searched_trial: Number of the trial of its configuration, the winner's or the control's.
        metrics: `validation` and `test`, each with loss, accuracy, top5_accuracy, macro_f1; of the
            first run of a group also `group`, with the scores of all.
        was_done: Whether the test had been taken before this call.
    """

    paths: TrialPaths
    searched_trial: int
    metrics: dict[str, Any]
    was_done: bool


@dataclass(frozen=True)
class _TrainedRun:
    """A final run whose weights are known to be its own.

    Attributes:
        run: The run.
        paths: Its files.
        identity: Its configuration and seed.
        checkpoint: Its best weights.
        sha256: Of their file.
    """

    run: FrozenTrial
    paths: TrialPaths
    identity: Identity
    checkpoint: dict[str, Any]
    sha256: str

    @property
    def searched_trial(self) -> int:
        return int(self.run.user_attrs[SEARCHED_TRIAL])

    def claim(self, study_name: str) -> TestEvaluation:
        return TestEvaluation(
            trial_id=self.run._trial_id,
            study_name=study_name,
            searched_trial=self.searched_trial,
            reason=self.run.user_attrs[TEST_REASON],
            checkpoint_sha256=self.sha256,
        )


def take_tests(
    final: StudySession, prepared: PreparedData, runs: Sequence[FrozenTrial]
) -> list[FinalResult]:
    """Evaluate the best weights of runs on validation, then, if not done, on the test split.

    Args:
        final: The queue of final runs.
        prepared: Its data.
        runs: The final runs of one group, all complete; the first leased by this process.

    Raises:
        StudyError: If the weights are not those of the best epoch, or of another run.
        ProtocolError: If a test of the study was taken that the database does not know.
        StorageError: If other weights were tested for one of these runs.
    """
    trained = [_open_trained(final, run) for run in runs]
    reject_forgotten(forgotten_tests(final))
    database, name = final.storage_handle.database, final.searched_name
    claims = claim_tests(database, [one.claim(name) for one in trained])
    was_done = all(claim.metrics is not None for claim in claims)
    if was_done and all(one.paths.metrics.is_file() for one in trained):
        return [
            FinalResult(
                one.paths, one.searched_trial, json.loads(one.paths.metrics.read_text()), True
            )
            for one in trained
        ]
    found = _evaluate_all(final, prepared, trained)
    finish_tests(database, {one.run._trial_id: metrics["test"] for one, metrics in found})
    return [FinalResult(one.paths, one.searched_trial, metrics, False) for one, metrics in found]


def _open_trained(final: StudySession, run: FrozenTrial) -> _TrainedRun:
    paths = final.trial_paths(slot_of(run))
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
    return _TrainedRun(run, paths, identity, checkpoint, file_sha256(paths.best))


def _evaluate_all(
    final: StudySession, prepared: PreparedData, trained: Sequence[_TrainedRun]
) -> list[tuple[_TrainedRun, dict[str, Any]]]:
    """Open the test split, evaluate every run, then write the files of all."""
    validation = prepared.validation()
    execution = final.config.execution
    validated = [
        evaluate_checkpoint(one.checkpoint, validation, execution=execution) for one in trained
    ]
    examples = prepared.test()
    tested = [_test(one, examples, execution) for one in trained]
    metrics = [
        _metrics(final, prepared, *each) for each in zip(trained, validated, tested, strict=True)
    ]
    metrics[0]["group"] = _group(metrics, tested)
    for one, found, written in zip(trained, tested, metrics, strict=True):
        after_epoch = len(one.run.intermediate_values)
        write_tested(one.paths, found, examples, prepared, after_epoch=after_epoch)
        write_metrics(one.paths, written)
    return list(zip(trained, metrics, strict=True))


def _test(one: _TrainedRun, examples: Examples, execution: DeviceConfig) -> Tested:
    mistakes, predictions = MistakeCollector(), PredictionCollector()
    collect = _collect_by((mistakes, predictions))
    test = evaluate_checkpoint(one.checkpoint, examples, execution=execution, collect=collect)
    return Tested(test, mistakes, predictions)


def _metrics(
    final: StudySession,
    prepared: PreparedData,
    one: _TrainedRun,
    validation: Evaluation,
    tested: Tested,
) -> dict[str, Any]:
    noted, test = one.run.user_attrs, tested.test
    return {
        "searched_trial": one.searched_trial,
        "role": role_of(noted),
        "first_slot": FinalGroup.of(slot_of(one.run), noted).first_slot,
        "hyperparameters": one.run.params,
        **asdict(one.identity.run),
        "checkpoint_sha256": one.sha256,
        "best_epoch": one.checkpoint["epoch"],
        "flip_average": final.config.evaluation.flip_average,
        "validation": asdict(validation.metrics),
        "test": asdict(test.metrics),
        **_standard_errors(test),
        "n_test_images": int(test.confusion_CC.sum()),
        "n_classes": prepared.n_classes,
        "n_validation_classes": validation.n_classes_present,
        "n_test_classes": test.n_classes_present,
        "n_test_evaluations": count_openings(final.storage_handle.database, final.searched_name),
    }


def _group(metrics: Sequence[dict[str, Any]], tested: Sequence[Tested]) -> dict[str, Any]:
    """Return what all runs have shown together."""
    runs = [
        TestedRun(
            slot=one["slot"],
            role=one["role"],
            seed=one["seed"],
            searched_trial=one["searched_trial"],
            validation_macro_f1=one["validation"]["macro_f1"],
            test_macro_f1=one["test"]["macro_f1"],
            test_accuracy=one["test"]["accuracy"],
        )
        for one in metrics
    ]
    predicted = [Predicted(*_labels(one.predictions)) for one in tested]
    return score_group(runs, predicted, tested[0].test.confusion_CC.numpy())


def _labels(predictions: PredictionCollector) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the class of each image, and the class predicted for it."""
    pairs = [(one.label, one.classes[0]) for one in predictions]
    true_N, predicted_N = np.asarray(pairs, dtype=np.int64).T
    return true_N, predicted_N


def _collect_by(collectors: Iterable[Collector]) -> Collector:
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
