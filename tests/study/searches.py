"""Searches of a moment: what a worker would have left behind, without training."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import optuna
from optuna.trial import TrialState

from storage.tables import epochs
from study.configuration.config import StudyConfig, validated
from study.configuration.points import configured_by
from study.session.session import StudySession
from study.trial.samplers import build_sampler

# What a run may have beside a plain schedule: two classes in an image, two networks, two views.
MODERN = {
    "augmentation": {"crop": "padded", "padding": 1, "cutmix_probability": 0.7},
    "optimization": {
        "batch_size": 16,
        "schedule": "restarts",
        "restart_epochs": 1,
        "warmup_epochs": 0.5,
        "ema_decay": 0.9,
    },
    "evaluation": {"flip_average": True},
}
CONDITIONAL: dict[str, Any] = {
    "optimization.optimizer": {"choices": ["sgd", "adamw"]},
    "optimization.learning_rate": "default",
    "optimization.momentum": {
        "low": 0.5,
        "high": 0.99,
        "when": {"optimization.optimizer": "sgd"},
    },
    "network.blocks": {"low": 1, "high": 2},
    "augmentation.crop": {"choices": ["none", "padded"]},
}
"""A space in which the optimizer decides what else is drawn."""
SCORES = ([0.2, 0.5, 0.4], [0.3, 0.6, 0.9], [0.1, 0.2], [])


def configured(settings: dict[str, Any], changes: dict[str, Any]) -> StudyConfig:
    """Return a configuration with changes by dotted key."""
    values = deepcopy(settings)
    for dotted, value in changes.items():
        *sections, key = dotted.split(".")
        inner = values
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = value
    return validated(values)


def pretend_to_search(
    session: StudySession, scores: Sequence[Sequence[float]] = SCORES, *, seed: int = 0
) -> None:
    """End waiting trials: whole curves are complete, shorter ones pruned, empty ones failed."""
    handle, config = session.storage_handle, session.config
    study = session.optuna_study()
    waiting = study.get_trials(states=(TrialState.WAITING,))
    for frozen, curve in zip(waiting, scores, strict=False):
        handle.set_trial_state_values(frozen._trial_id, TrialState.RUNNING)
        study.sampler = build_sampler(config.search, seed=seed, number=frozen.number)
        trial = optuna.Trial(study, frozen._trial_id)
        configured_by(trial, config)
        trial.set_user_attr("host", "somewhere")
        for epoch, score in enumerate(curve, start=1):
            trial.report(score, epoch)
            _record(session, frozen._trial_id, epoch, score)
        if len(curve) == config.search.n_epochs:
            trial.set_user_attr("best_epoch", curve.index(max(curve)) + 1)
            study.tell(frozen.number, max(curve))
        elif curve:
            trial.set_user_attr("reason", {"kind": "pruned", "message": "a test"})
            study.tell(frozen.number, state=TrialState.PRUNED)
        else:
            study.tell(frozen.number, state=TrialState.FAIL)


def _record(session: StudySession, trial_id: int, epoch: int, score: float) -> None:
    names = [column.name for column in epochs.columns if column.name not in ("trial_id", "epoch")]
    row = {"trial_id": trial_id, "epoch": epoch, **dict.fromkeys(names, score)}
    session.storage_handle.database.write(
        lambda connection: connection.execute(epochs.insert().values(**row))
    )
