"""The long run of the winner, and the one look at the test split.

A final run is a study of its own with a queue of one given point, so it is claimed, resumed and
recorded like any trial. Its test evaluation is claimed in the database before the split is opened.
"""

import csv
import io
import json
import math
import time
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from dashboards.confusion_csv import save_confusion_csv
from dashboards.plots import confusion_matrix_figure, save_png
from dashboards.trials import TrialRow
from data.batches import EvaluationBatches
from data.image_cache import Examples, PreparedData
from data.split_writer import Track, no_progress
from model.configuration import DeviceConfig, EvaluationConfig
from model.device import reproducible_kernels, resolve_execution
from model.evaluation import ClassReport, Evaluation, evaluate, per_class_report
from model.network import build_network
from model.training_state import evaluated_weights
from storage.checkpoints import file_sha256, load_checkpoint
from storage.leases import Heartbeat, acquire, end
from storage.owners import Owner
from storage.records import TestEvaluation, claim_test, finish_test, read_tests
from storage.run_paths import TrialPaths, write_atomically
from storage.watch import Watch
from study.config import StudyConfig, validated
from study.errors import ProtocolError, StudyError
from study.initialisation import Point, extend, initialise
from study.notes import note_test
from study.session import StudySession, final_name
from study.stopping import StopFlag
from study.trial_parts import EVALUATION_BATCH_SIZE
from study.worker import Announce, Worker

FIRST_REASON = "the first final run of the study"


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


def final_config(config: StudyConfig) -> StudyConfig:
    """Return the configuration of a study's final runs: longer, at full size, nothing pruned."""
    final = config.final
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"image_size": final.image_size}),
            "search": config.search.model_copy(
                update={"n_epochs": final.n_epochs, "n_trials": 1, "pruner": "none"}
            ),
            "workers": config.workers.model_copy(update={"n_workers": 1, "threads": None}),
        }
    )


def open_final(
    session: StudySession, winner: TrialRow, *, reopen: str | None, track: Track = no_progress
) -> StudySession:
    """Queue the final run of a winner, or find the one that is queued.

    A run that failed has not seen the test split, so another is queued without asking. The same
    call after its run is over changes nothing.

    Args:
        session: The searched study.
        winner: Its winner.
        reopen: Why another run may see the test split after an earlier one has.
        track: Shows the progress of the decoding.

    Raises:
        ProtocolError: If another trial has the final run and no reason is given, or if its length
            or size is not what was queued.
    """
    reason = reopen or FIRST_REASON
    point = Point(winner.params, {"searched_trial": winner.number, "test_reason": reason})
    runs = _queued(session)
    try:
        opened = initialise(
            final_config(session.config),
            name=final_name(session.protocol.study_name),
            points=[point] * max(1, len(runs)),
            track=track,
        )
    except ProtocolError as error:
        raise ProtocolError(f"a final run stays as it was queued: {error}") from None
    if not runs:
        return opened
    last = runs[-1]
    if last.state in (TrialState.FAIL, TrialState.PRUNED):
        return extend(opened, [point])
    searched_trial = last.user_attrs["searched_trial"]
    is_the_same = searched_trial == winner.number and reopen in (
        None,
        last.user_attrs["test_reason"],
    )
    if is_the_same or not last.state.is_finished():
        return opened
    if reopen is None:
        raise ProtocolError(
            f"the final run of study {session.protocol.study_name!r} is that of trial "
            f"{searched_trial}, the winner is now trial {winner.number}: "
            "add `--reopen REASON` for another final run"
        )
    return extend(opened, [point])


def _queued(session: StudySession) -> list[FrozenTrial]:
    """Return the final runs of a study in the order of their slots."""
    handle = session.storage_handle
    names = {study.study_name: study._study_id for study in handle.get_all_studies()}
    study_id = names.get(final_name(session.protocol.study_name))
    if study_id is None:
        return []
    return sorted(handle.get_all_trials(study_id), key=lambda run: int(run.user_attrs["slot"]))


def run_final(
    final: StudySession, prepared: PreparedData, *, stop: StopFlag, announce: Announce
) -> FinalResult | None:
    """Train the queued final runs and test the last one.

    Returns:
        The result; None where the run was stopped before its end.

    Raises:
        StudyError: If the run failed.
    """
    Worker(final, prepared, stop=stop, announce=announce).work()
    runs = final.optuna_study().get_trials(deepcopy=False)
    run = max(runs, key=lambda trial: int(trial.user_attrs["slot"]))
    if not run.state.is_finished():
        return None
    if run.state != TrialState.COMPLETE:
        reason = run.user_attrs.get("reason", {}).get("message", "unknown")
        raise StudyError(
            f"the final run ended {run.state.name.lower()} ({reason}): "
            "mend the cause; the same command queues another"
        )
    return _test(final, prepared, run, stop=stop)


def _test(
    final: StudySession, prepared: PreparedData, run: FrozenTrial, *, stop: StopFlag
) -> FinalResult | None:
    """Take the test, or wait for the process that takes it; None where a stop was asked for."""
    database = final.storage_handle.database
    place = final.config.storage
    watch = Watch(
        database,
        heartbeat_seconds=place.heartbeat_seconds,
        grace_seconds=place.grace_seconds,
    )
    while not stop.is_set:
        held = watch.look().get(run._trial_id)
        if held is None or watch.is_lost(held):
            lease = acquire(database, run._trial_id, Owner.current(), lost=held)
            if lease is not None:
                break
        time.sleep(min(1.0, place.heartbeat_seconds))
    else:
        return None
    seconds = place.heartbeat_seconds
    ending = "test cut off"
    try:
        with Heartbeat(database, lease, seconds=seconds, between=watch.look) as heartbeat:
            result = _tested(final, prepared, run)
            note_test(final, heartbeat, run, result.metrics)
        ending = "tested"
    finally:
        end(database, lease, ending)
    return result


def _tested(final: StudySession, prepared: PreparedData, run: FrozenTrial) -> FinalResult:
    """Evaluate the best weights on validation, then, if not done before, on the test split."""
    paths = final.trial_paths(int(run.user_attrs["slot"]))
    searched_trial = int(run.user_attrs["searched_trial"])
    database = final.storage_handle.database
    checkpoint = load_checkpoint(paths.best)
    best_epoch = run.user_attrs["best_epoch"]
    if checkpoint["epoch"] != best_epoch:
        raise StudyError(
            f"{paths.best} must hold the best epoch {best_epoch}, it holds {checkpoint['epoch']}: "
            "the weights were overwritten; train anew with `study final --reopen REASON`"
        )
    claim = claim_test(
        database,
        TestEvaluation(
            trial_id=run._trial_id,
            study_name=final.searched_name,
            searched_trial=searched_trial,
            reason=run.user_attrs["test_reason"],
            checkpoint_sha256=file_sha256(paths.best),
        ),
    )
    if claim.metrics is not None and paths.metrics.is_file():
        metrics = json.loads(paths.metrics.read_text())
        return FinalResult(paths, searched_trial, metrics, was_done=True)
    execution = final.config.execution
    validation = evaluate_checkpoint(checkpoint, prepared.validation(), execution=execution)
    test_examples = prepared.test()
    test = evaluate_checkpoint(checkpoint, test_examples, execution=execution)
    metrics = {
        "searched_trial": searched_trial,
        "best_epoch": checkpoint["epoch"],
        "flip_average": final.config.evaluation.flip_average,
        "validation": asdict(validation.metrics),
        "test": asdict(test.metrics),
        "test_accuracy_standard_error": standard_error(
            test.metrics.accuracy, len(test_examples.labels_N)
        ),
        "n_test_images": len(test_examples.labels_N),
        "n_test_evaluations": len(read_tests(database, final.searched_name)),
    }
    _write_artifacts(paths, test, list(prepared.class_names), metrics)
    finish_test(database, run._trial_id, asdict(test.metrics))
    return FinalResult(paths, searched_trial, metrics, was_done=False)


def refuse_untrained_data(checkpoint: dict[str, Any], prepared: PreparedData, path: Path) -> None:
    """Refuse to judge weights on other data than those they were trained with.

    Raises:
        StudyError: If the fingerprints differ.
    """
    trained = checkpoint["data_fingerprint"]
    if trained != prepared.fingerprint:
        raise StudyError(
            f"--data must be the data of {path} (fingerprint {trained[:12]}), those found have "
            f"{prepared.fingerprint[:12]}: give the same data and settings"
        )


def evaluate_checkpoint(
    checkpoint: dict[str, Any],
    examples: Examples,
    *,
    execution: DeviceConfig,
    evaluation: EvaluationConfig | None = None,
) -> Evaluation:
    """Evaluate saved weights on examples of the size and statistics they were trained with.

    Args:
        checkpoint: What a trial saved as its best weights.
        examples: Images and labels.
        execution: Where and in which precision the network runs.
        evaluation: How it is judged; default as its run did.
    """
    config = validated(json.loads(checkpoint["configuration"]))
    resolved = resolve_execution(execution)
    n_classes = len(checkpoint["class_names"])
    network = build_network(config.network, n_classes=n_classes)
    best = "network" in checkpoint
    network.load_state_dict(
        checkpoint["network"] if best else evaluated_weights(checkpoint["state"])
    )
    resolved.place(network)
    batches = EvaluationBatches(
        examples,
        batch_size=EVALUATION_BATCH_SIZE,
        mean=checkpoint["mean"],
        std=checkpoint["std"],
        device=resolved.device,
    )
    with reproducible_kernels():
        return evaluate(
            network,
            batches(),
            n_classes=n_classes,
            execution=resolved,
            flip_average=(evaluation or config.evaluation).flip_average,
        )


def standard_error(accuracy: float, n_images: int) -> float:
    """Return the binomial standard error of an accuracy measured on so many images."""
    return math.sqrt(accuracy * (1 - accuracy) / n_images)


def _write_artifacts(
    paths: TrialPaths, test: Evaluation, class_names: list[str], metrics: dict[str, Any]
) -> None:
    confusion_CC = test.confusion_CC.cpu()
    confusion = confusion_CC.numpy()
    save_confusion_csv(paths.confusion_csv, confusion, class_names)
    save_png(confusion_matrix_figure(confusion, class_names), paths.confusion_picture)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(field.name for field in fields(ClassReport))
    rows.writerows(astuple(entry) for entry in per_class_report(confusion_CC, class_names))
    write_atomically(paths.per_class, text.getvalue().encode())
    write_atomically(paths.metrics, json.dumps(metrics, indent=2).encode())
