"""Configurations that somebody wants to try: by `study enqueue`, or by Optuna's own tools.

Each is a waiting trial with given hyperparameters, which is then adopted: it gets the next slot of
the study, beyond the budget, which grows by it. What is not given is sampled.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from storage.addresses import parse_url
from storage.adoption import ENQUEUED, adopt, requeue, told_slots, waiting_without_slot
from storage.init_lock import initialising
from storage.optuna_rows import FIXED_PARAMS
from storage.records import read_protocol
from study.configuration.config import StudyConfig
from study.configuration.given_values import suggest_near
from study.configuration.points import configured_by
from study.configuration.search_space import stage_names
from study.configuration.yaml_values import parse_assigned
from study.errors import ConfigurationError, StudyError
from study.session.session import StudySession

logger = logging.getLogger(__name__)

BLOCKS = "blocks"


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
    params = _parse(assignments, stage_names(len(session.config.network.widths)))
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


def _parse(assignments: Sequence[str], stages: Sequence[str]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise StudyError(
                f"KEY=VALUE must give a hyperparameter, got {text!r}: "
                "for example learning_rate=0.1 or blocks=2-2-2"
            )
        given = _blocks(value, stages) if key == BLOCKS else {key: _value(value)}
        twice = given.keys() & params.keys()
        if twice:
            raise StudyError(f"{key} must be given once, got {text!r} too: leave one out")
        params |= given
    return dict(sorted(params.items()))


def _blocks(text: str, stages: Sequence[str]) -> dict[str, Any]:
    counts = [_value(part) for part in text.strip("[]").replace(",", "-").split("-")]
    if len(counts) != len(stages):
        raise StudyError(
            f"{BLOCKS} must have one number for each stage ({len(stages)}), got {text!r}: "
            f"for example blocks={'-'.join('2' * len(stages))}"
        )
    return dict(zip(stages, counts, strict=True))


def _value(text: str) -> Any:
    """Return what YAML sees, else the text, which no range accepts."""
    try:
        return parse_assigned(text, "KEY=VALUE")
    except ConfigurationError:
        return text


def validate_params(config: StudyConfig, params: Mapping[str, Any]) -> None:
    """Reject hyperparameters that are not in the search space of a study.

    Raises:
        StudyError: If there are any; the message names the first with its rule and value.
    """
    if config.search.space == "given":
        raise StudyError(
            f"study {config.name!r} must train its given points only, got {dict(params)!r}: "
            "start a changed study with more search.points"
        )
    ranges = _searched_ranges(config)
    for name, value in params.items():
        within = ranges.get(name)
        if within is None:
            raise StudyError(_unknown(config, name, value, list(ranges)))
        if not _lies_within(value, within):
            kind = "a whole number" if isinstance(within, IntDistribution) else "a number"
            setting = BLOCKS if name.startswith(f"{BLOCKS}_") else name
            raise StudyError(
                f"{name} must be {kind} from {within.low:g} to {within.high:g}, got {value!r}: "
                f"give one within search.ranges.{setting} of study {config.name!r}"
            )


def _searched_ranges(config: StudyConfig) -> dict[str, FloatDistribution | IntDistribution]:
    sampler = optuna.samplers.RandomSampler(seed=0)
    trial = optuna.create_study(sampler=sampler).ask()
    configured_by(trial, config)
    ranges: dict[str, BaseDistribution] = trial.distributions
    numbers = (FloatDistribution, IntDistribution)
    return {name: one for name, one in ranges.items() if isinstance(one, numbers)}


def _unknown(config: StudyConfig, name: str, value: Any, known: Sequence[str]) -> str:
    rule = f"{name} must be a hyperparameter that study {config.name!r} searches"
    remedy = suggest_near(name, known, otherwise="leave it out, or fork the study")
    return f"{rule} ({', '.join(known) or 'none'}), got {name}={value!r}: {remedy}"


def _lies_within(value: Any, within: FloatDistribution | IntDistribution) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    is_whole = isinstance(within, FloatDistribution) or value % 1 == 0
    return within.low <= value <= within.high and is_whole


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
    """Return what waits without a slot; final runs are queued by `study final` only."""
    if session.is_final:
        return []
    return waiting_without_slot(session.storage_handle.database, session.protocol.study_name)
