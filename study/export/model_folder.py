"""From a finished run to its model folder: weights, configuration, ONNX file and model card."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.export import (
    CARD_FILE,
    CONFIG_FILE,
    FILES,
    ONNX_FILE,
    ExportedConfig,
    ExportedModel,
    as_text,
    write_model,
    writing_folder,
)
from model.onnx_export import save_onnx
from storage.group_rights import share
from study.export.data_origin import describe_data
from study.export.kept_run import KeptRun
from study.export.model_card import Described, write_card
from study.trial.saved_weights import saved_config, saved_weights

PROGRAM = "image-classifier-study"
TESTED = ("validation", "test", "test_accuracy_standard_error", "test_macro_f1_standard_error")
COUNTS = (
    "n_test_images",
    "n_classes",
    "n_validation_classes",
    "n_test_classes",
    "n_test_evaluations",
)
"""What of `metrics.json` leaves with the model."""


def has_model_folder(run: KeptRun) -> bool:
    """Return whether a final run has its model folder, whole and of its own weights."""
    if not all((run.paths.model / name).is_file() for name in FILES):
        return False
    return (run.paths.model / CONFIG_FILE).read_text(encoding="utf-8") == as_text(
        build_config(run)
    )


def write_model_folder(run: KeptRun, folder: Path) -> None:
    """Write the model folder of a run, whole or not at all.

    Args:
        run: Whose weights are kept.
        folder: Must not exist, be empty, or be a model folder, which is replaced.

    Raises:
        ModelError: If the folder holds anything else, or cannot be written.
    """
    config = build_config(run)
    weights = saved_weights(run.checkpoint)
    described = Described.of(run, config)
    missing = [above for above in folder.absolute().parents if not above.exists()]
    with writing_folder(folder) as part:
        write_model(part, config, weights)
        save_onnx(ExportedModel(config, weights), part / ONNX_FILE)
        write_card(part / CARD_FILE, described)
        for path in (*reversed(missing), part, *part.iterdir()):
            share(path)


def build_config(run: KeptRun) -> ExportedConfig:
    """Return what the model folder of a run says of its model."""
    config = saved_config(run.checkpoint)
    return ExportedConfig(
        network=config.network,
        class_names=tuple(run.checkpoint["class_names"]),
        image_size=config.data.image_size,
        resize=config.data.resize,
        value_range=config.data.value_range,
        mean=run.checkpoint["mean"],
        std=run.checkpoint["std"],
        flip_average=config.evaluation.flip_average,
        origin=_origin(run),
        metrics=_metrics(run),
    )


def _origin(run: KeptRun) -> dict[str, Any]:
    protocol, noted = run.session.protocol, run.row.attributes
    trial = noted["searched_trial"] if run.test else run.row.number
    return {
        "study": run.session.searched_name,
        "run": "final" if run.test else "trial",
        "trial": trial,
        "seed": noted["seed"],
        "device": noted["device"],
        "epoch": run.checkpoint["epoch"],
        **describe_data(protocol),
        "git_revision": noted.get("git_revision"),
        "source_digest": noted.get("source_digest"),
        "versions": noted.get("versions", {}),
        "program": PROGRAM,
    }


def _metrics(run: KeptRun) -> dict[str, Any]:
    """Return what was measured: with test metrics after a test, which nothing here takes."""
    if run.test is None:
        return {"validation": _validation_metrics(run)}
    written = json.loads(run.paths.metrics.read_text())
    return {name: written[name] for name in (*TESTED, *COUNTS) if name in written}


def _validation_metrics(run: KeptRun) -> dict[str, float]:
    values = asdict(run.epoch)
    names = ("loss", "accuracy", "top5_accuracy", "macro_f1")
    return {name: values[f"validation_{name}"] for name in names}
