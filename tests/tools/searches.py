"""Searches made by hand: trials with curves as a real search would leave them."""

import math
import random
from collections.abc import Iterable

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from storage.budget import Budget
from storage.records import EpochRecord, Protocol, add_protocol, put_epoch
from storage.study_storage import StudyStorage

SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-3, 1.0, log=True),
    "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
    **{f"blocks_{stage}": IntDistribution(1, 4) for stage in (1, 2, 3)},
    "dropout": FloatDistribution(0.0, 0.5),
}


def create_search(
    handle: StudyStorage,
    name: str,
    *,
    n_trials: int,
    n_epochs: int,
    class_names: Iterable[str] = ("cat", "dog"),
    budget: Budget | None = None,
    pruner: str = "percentile",
) -> None:
    """Create a study without trials, but with a protocol."""
    optuna.create_study(study_name=name, storage=handle, direction="maximize")
    baseline = {"accuracy": 0.5, "macro_f1": 0.3}
    search = {
        "space": "joint",
        "budget": {budget.unit: budget.amount} if budget else {"trials": n_trials},
        "n_epochs": n_epochs,
        "sampler": "tpe",
        "pruner": pruner,
        "rungs": [0.1, 0.25, 0.5],
    }
    facts = {
        "data_fingerprint": "d" * 64,
        "class_names": list(class_names),
        "n_examples": {"train": 90_000, "validation": 10_000, "test": 10_000},
        "baselines": {"majority": baseline},
        "versions": {"torch": "2.11.0"},
        "git_revision": "0123abc+",
        **({"budget": budget.as_json()} if budget else {}),
    }
    configuration = {
        "name": name,
        "seed": 7,
        "data": {"source": "pictures", "image_size": 32, "split_seed": 5},
        "optimization": {"warmup_epochs": 0},
        "search": search,
    }
    add_protocol(handle.database, Protocol(name, n_trials, configuration, "f" * 64, facts))


def add_trial(
    handle: StudyStorage,
    name: str,
    *,
    slot: int,
    state: TrialState,
    n_epochs: int,
    best: float | None = None,
    attributes: dict[str, object] | None = None,
) -> int:
    """Add a trial with drawn hyperparameters and a curve; return its row number.

    Args:
        handle: The database.
        name: The study.
        slot: Its place in the queue, which also seeds what is drawn.
        state: How it ended.
        n_epochs: Epochs of its curve.
        best: Score that the curve rises to; none: the nearer to a learning rate of 0.1, the more.
        attributes: More user attributes.
    """
    draw = random.Random(slot)
    params = {
        "learning_rate": 10 ** draw.uniform(-3, 0),
        "weight_decay": 10 ** draw.uniform(-6, -2),
        **{f"blocks_{stage}": draw.randint(1, 4) for stage in (1, 2, 3)},
        "dropout": draw.uniform(0, 0.5),
    }
    if best is None:
        best = 0.6 - 0.2 * abs(math.log10(params["learning_rate"]) + 1) + draw.uniform(0, 0.05)
    curve = [best * (1 - 0.8**epoch) for epoch in range(1, n_epochs + 1)]
    study_id = handle.get_study_id_from_name(name)
    trial_id = handle.create_new_trial(
        study_id,
        create_trial(
            state=state,
            value=max(curve) if state is TrialState.COMPLETE else None,
            params=params,
            distributions=SPACE,
            user_attrs={
                "slot": slot,
                "host": "node1",
                "device": "cpu",
                "best_epoch": n_epochs,
                **(attributes or {}),
            },
            intermediate_values=dict(enumerate(curve, start=1)),
        ),
    )

    def put(connection: object) -> None:
        for epoch, score in enumerate(curve, start=1):
            put_epoch(connection, trial_id, record(epoch, score))

    handle.database.write(put)
    return trial_id


def record(epoch: int, score: float) -> EpochRecord:
    """Return an epoch of this validation accuracy and macro-F1."""
    return EpochRecord(
        epoch=epoch,
        train_loss=2.0,
        train_accuracy=0.4,
        train_top5_accuracy=0.8,
        train_macro_f1=0.35,
        validation_loss=2.5,
        validation_accuracy=score,
        validation_top5_accuracy=0.7,
        validation_macro_f1=score,
        learning_rate=0.05,
        gradient_norm=1.5,
        seconds=10.0,
        images_per_second=900.0,
    )
