"""Configurations that somebody wants to try: by `study enqueue`, or by Optuna's own tools.

Each is a waiting trial with given hyperparameters, which is then adopted: it gets the next slot of
the study, beyond the budget, which grows by it. What is not given is sampled.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from storage.addresses import parse_url
from storage.adoption import ENQUEUED, adopt, requeue, told_slots, waiting_without_slot
from storage.init_lock import initialising
from storage.optuna_rows import FIXED_PARAMS
from storage.records import read_protocol
from study.errors import StudyError
from study.session.asked_params import parse_params, validate_params
from study.session.session import StudySession

logger = logging.getLogger(__name__)


def enqueue(session: StudySession, assignments: Sequence[str]) -> tuple[FrozenTrial, bool]:
    """Queue one trial with given hyperparameters; those left out are sampled.

    Args:
        session: The study.
        assignments: `KEY=VALUE`, once for each hyperparameter.

    Returns:
        The trial, and whether it is new: one of the same hyperparameters that waits, runs or is
        over without a failure stays the only one.

    Raises:
        StudyError: If this is no configuration of the study's search space.
    """
    params = parse_params(session.config, assignments)
    validate_params(session.config, params)
    adopt_enqueued(session)
    same = _trials_with(session, params)
    there = next((trial for trial in same if trial.state != TrialState.FAIL), None)
    if there is not None:
        return there, False
    template = create_trial(
        state=TrialState.WAITING,
        system_attrs={FIXED_PARAMS: params},
        user_attrs={ENQUEUED: {"params": params, "failed_before": len(same)}},
    )
    study_id = session.optuna_study()._study_id
    session.storage_handle.create_new_trial(study_id, template)
    adopt_enqueued(session)
    return _trials_with(session, params)[-1], True


def _trials_with(session: StudySession, params: Mapping[str, Any]) -> list[FrozenTrial]:
    trials = session.optuna_study().get_trials(deepcopy=False)
    return [trial for trial in trials if trial.system_attrs.get(FIXED_PARAMS) == params]


def adopt_enqueued(session: StudySession) -> StudySession:
    """Give every waiting trial without a slot the next one; fail it where it is rejected.

    Idempotent: a trial that has a slot keeps it.

    Returns:
        The study with its budget, which has grown by one for each of them.
    """
    if not _without_slot(session):
        return session
    with initialising(parse_url(session.config.storage.url)):
        adopt_all(session)
    database, name = session.storage_handle.database, session.protocol.study_name
    return replace(session, protocol=read_protocol(database, name))


def requeue_finished_elsewhere(session: StudySession) -> bool:
    """Queue again the slots that another program has given a result; return whether any was."""
    handle, name = session.storage_handle, session.protocol.study_name
    if not told_slots(handle.database, name):
        return False
    with initialising(parse_url(session.config.storage.url)):
        study_id = handle.get_study_id_from_name(name)
        for trial_id in told_slots(handle.database, name):
            told = handle.get_trial(trial_id)
            requeue(handle, handle.database, study_id, told)
            logger.warning("trial %d was finished by another program: queued again", told.number)
    return True


def adopt_all(session: StudySession) -> None:
    """Do the same; the caller holds the init lock."""
    handle = session.storage_handle
    for trial_id in _without_slot(session):
        trial = handle.get_trial(trial_id)
        rejection = None
        try:
            validate_params(
                session.config, trial.system_attrs.get(FIXED_PARAMS, {}) | trial.params
            )
        except StudyError as error:
            rejection = {"kind": "rejected", "message": str(error)}
        name = session.protocol.study_name
        n_epochs = session.config.search.n_epochs
        slot = adopt(
            handle.database, trial_id, study_name=name, n_epochs=n_epochs, rejection=rejection
        )
        became = "rejected" if rejection else f"slot {slot}; the budget grows by it"
        logger.info("trial %d was enqueued beside the queue: %s", trial.number, became)


def _without_slot(session: StudySession) -> list[int]:
    """Return what waits without a slot; what follows a search is queued by its command."""
    if not session.is_search:
        return []
    return waiting_without_slot(session.storage_handle.database, session.protocol.study_name)
