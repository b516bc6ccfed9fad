"""What a trial has saved: weights, and the configuration that they were trained with."""

import json
from pathlib import Path
from typing import Any

from model.training_state import evaluated_weights
from study.configuration.config import StudyConfig, validated
from study.configuration.stored_settings import completed, missing_settings
from study.errors import StudyError

Weights = dict[str, Any]


def trained_configuration(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the configuration that weights were trained with, as JSON values.

    Raises:
        StudyError: If they were saved before this code had a setting, and say nothing of it.
    """
    stored = json.loads(checkpoint["configuration"])
    if missing := missing_settings(stored):
        raise StudyError(
            f"CHECKPOINT must have a value for every setting, {path} was saved before there was "
            f"{', '.join(missing)}: evaluate it with the version that trained it"
        )
    return completed(stored)


def saved_config(checkpoint: dict[str, Any]) -> StudyConfig:
    """Return the same, validated; a setting that it says nothing of has its default."""
    return validated(completed(json.loads(checkpoint["configuration"])))


def saved_weights(checkpoint: dict[str, Any]) -> Weights:
    """Return the weights that are evaluated: the averaged ones where there are some.

    Args:
        checkpoint: The best weights of a trial, or a checkpoint to resume from.
    """
    if "network" in checkpoint:
        return dict(checkpoint["network"])
    return evaluated_weights(checkpoint["state"])
