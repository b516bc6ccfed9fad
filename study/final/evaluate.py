"""Saved weights, evaluated again: by the commands `final` and `evaluate`."""

from pathlib import Path
from typing import Any

from data.batches import EvaluationBatches
from data.image_cache import Examples, PreparedData
from model.configuration import DeviceConfig, EvaluationConfig
from model.device import reproducible_kernels, resolve_execution
from model.evaluation import Collector, Evaluation, evaluate
from model.network import build_network
from study.errors import StudyError
from study.trial.components import EVALUATION_BATCH_SIZE
from study.trial.saved_weights import saved_config, saved_weights


def reject_untrained_data(checkpoint: dict[str, Any], prepared: PreparedData, path: Path) -> None:
    """Reject other data than those they were trained with.

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
    collect: Collector | None = None,
) -> Evaluation:
    """Evaluate saved weights on examples of the size and statistics they were trained with.

    Args:
        checkpoint: What a trial saved as its best weights.
        examples: Images and labels.
        execution: Where and in which precision the network runs.
        evaluation: How it is evaluated; default as its run did.
        collect: Sees the logits and labels of every batch.
    """
    config = saved_config(checkpoint)
    resolved = resolve_execution(execution)
    n_classes = len(checkpoint["class_names"])
    network = build_network(config.network, n_classes=n_classes)
    network.load_state_dict(saved_weights(checkpoint))
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
            collect=collect,
        )
