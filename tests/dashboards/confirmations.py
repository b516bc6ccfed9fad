"""Confirmations of a study made by hand, as `study confirm` would leave them."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from dashboards.analysis.confirmation.reading import CONFIRMS, VERDICT
from dashboards.analysis.confirmation.verdict import JudgedRun, Verdict, judge
from storage.optuna_rows import BEST_EPOCH, SLOT
from storage.records import add_protocol, put_epoch, read_protocol
from storage.study_names import CONFIRM_SUFFIX
from storage.study_storage import StudyStorage
from tests.dashboards.conftest import N_EPOCHS, STUDY_NAME, build_record

SEARCHED = {1: 0.61, 0: 0.4}
COSTS = {1: 2_000, 0: 1_000}
SELECTION = {1: (0.55, 0.57), 0: (0.38, 0.41)}
BETTER = {"winner": (0.54, 0.56, 0.55), "control": (0.40, 0.39, 0.42)}
NOT_TOLD = {"winner": (0.44, 0.56, 0.35), "control": (0.40, 0.49, 0.42)}
N_IMAGES = 200


def add_confirmation(
    storage: StudyStorage,
    judged: dict[str, Sequence[float]] | None = None,
    *,
    n_done: int | None = None,
    own_images: bool = True,
    study_name: str = STUDY_NAME,
) -> None:
    """Add a confirmation of trial 1, with trial 0 as the control.

    Args:
        storage: With the searched study.
        judged: Scores of the second stage; None: the first stage is not over.
        n_done: Runs that are over; the next runs, the others wait. None: all are.
        own_images: Whether there are confirmation images.
        study_name: Of the searched study.
    """
    protocol = read_protocol(storage.database, study_name)
    facts = deepcopy(protocol.facts)
    if own_images:
        facts["n_examples"]["confirmation"] = N_IMAGES
    runs = [("candidate", trial, score) for trial in SELECTION for score in SELECTION[trial]]
    for role, scores in (judged or {}).items():
        runs += [(role, 1 if role == "winner" else 0, score) for score in scores]
    name = study_name + CONFIRM_SUFFIX
    other = {
        "study_name": name,
        "study_key": name.encode().hex()[:32].rjust(32, "0"),
        "budget": len(runs),
    }
    add_protocol(storage.database, replace(protocol, facts=facts, **other))
    optuna.create_study(study_name=name, storage=storage, direction="maximize")
    for slot, (role, trial, score) in enumerate(runs):
        done = len(runs) if n_done is None else n_done
        state = "complete" if slot < done else "running" if slot == done else "waiting"
        add_run(storage, slot, role, trial, score, state=state, name=name)
    if judged and n_done is None:
        study_id = storage.get_study_id_from_name(name)
        storage.set_study_user_attr(study_id, VERDICT, asdict(judged_by(judged)))


def judged_by(judged: dict[str, Sequence[float]]) -> Verdict:
    random = np.random.default_rng(0)
    winner, control = (
        [JudgedRun(score, random.normal(size=N_IMAGES) / 10) for score in judged[role]]
        for role in ("winner", "control")
    )
    return judge(winner, control, alpha=0.05, margin=0.0)


def add_run(
    storage: StudyStorage,
    slot: int,
    role: str,
    trial: int | None,
    score: float,
    *,
    state: str,
    name: str = STUDY_NAME + CONFIRM_SUFFIX,
) -> None:
    attributes: dict[str, Any] = {
        SLOT: slot,
        CONFIRMS: {
            "role": role,
            "trial": trial,
            "search_score": None if trial is None else SEARCHED[trial],
            "cost": 1_500 if trial is None else COSTS[trial],
        },
    }
    if state == "complete":
        attributes[BEST_EPOCH] = N_EPOCHS
    states = {"complete": TrialState.COMPLETE, "running": TrialState.RUNNING}
    made = create_trial(
        state=states.get(state, TrialState.WAITING),
        value=score if state == "complete" else None,
        user_attrs=attributes,
        params={"dropout": 0.1 * (trial or 0)},
        distributions={"dropout": optuna.distributions.FloatDistribution(0, 0.5)},
    )
    study_id = storage.get_study_id_from_name(name)
    trial_id = storage.create_new_trial(study_id, template_trial=made)
    if state != "waiting":
        for epoch in range(1, (N_EPOCHS if state == "complete" else 2) + 1):
            record = build_record(epoch, score)
            storage.database.write(
                lambda connection, record=record: put_epoch(connection, trial_id, record)
            )
