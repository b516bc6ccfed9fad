"""The confirmation of a study: queued like a study of given points, judged when it is over."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dashboards.analysis.confirmation.reading import (
    CANDIDATE,
    VERDICT,
    Confirmation,
    read_confirmation,
)
from dashboards.analysis.confirmation.verdict import JudgedRun, Verdict, judge
from data.split_writer import Track, no_progress
from model.macro_f1_influence import macro_f1, macro_f1_influence
from storage.addresses import parse_url
from storage.adoption import requeue
from storage.final_groups import CONTROL, WINNER
from storage.init_lock import initialising
from storage.records import Protocol
from storage.study_names import searched_name
from study.configuration.config import StudyConfig
from study.confirmation.candidates import Setting, find_candidates, find_control
from study.confirmation.procedure import first_points, next_points
from study.creation.create import initialise
from study.creation.extend import extend_from
from study.creation.queue import SAMPLED, Point
from study.errors import ProtocolError, StudyError
from study.session.protocol import reject_missing_folder
from study.session.session import StudySession, confirm_name
from study.trial.predictions import load_predictions

logger = logging.getLogger(__name__)

ROUNDING = 1e-6
"""By how much a stored score may differ from that of the stored predictions."""


def confirmation_config(config: StudyConfig) -> StudyConfig:
    """Return the configuration of a study's confirmation: as long as its trials, nothing cut."""
    return config.replacing({"search.budget": {"trials": 1}, "search.pruner": "none"})


def open_confirmation(
    session: StudySession, *, race: bool = False, track: Track = no_progress
) -> StudySession:
    """Queue the confirmation of a search that is over, or find the one that is queued.

    Args:
        session: The searched study.
        race: Whether candidates that keep up get more seeds, whatever `confirm.race` says.
        track: Shows the progress of the decoding.

    Raises:
        StudyError: If no trial is complete.
        ProtocolError: If it was queued with other settings, or the folder of the data is gone.
    """
    reject_missing_folder(session.protocol, session.config)
    name = confirm_name(session.protocol.study_name)
    config = confirmation_config(session.config)
    found = session.location.find(name)
    if found is not None and found.is_search:
        raise ProtocolError(
            f"the name {name!r} must be free for the confirmation, a search of an earlier version "
            f"has it: confirm a fork of {session.protocol.study_name!r}"
        )
    if found is None:
        if race:
            config = config.replacing({"confirm.race": True})
        points = first_points(_candidates(session), config.confirm)
    else:
        config = _with_race_of(found, config, asked=race)
        points = [SAMPLED] * found.budget  # its queue stays as it is
    return initialise(
        config,
        location=session.location,
        name=name,
        points=points,
        gives_budget=False,
        track=track,
    )


def _candidates(session: StudySession) -> list[Setting]:
    found = find_candidates(session)
    if not found:
        name = session.protocol.study_name
        raise StudyError(
            f"study {name!r} must have a complete trial before its confirmation, it has none: see "
            "`study trials --json`"
        )
    return found


def _with_race_of(found: Protocol, config: StudyConfig, *, asked: bool) -> StudyConfig:
    """Return a configuration that races where the queued confirmation does."""
    races = bool(found.configuration["confirm"]["race"])
    if asked and not races:
        raise ProtocolError(
            f"--race must be given when a confirmation is queued, that of study "
            f"{searched_name(found.study_name)!r} was queued without: leave it out to continue"
        )
    return config.replacing({"confirm.race": races})


def advance(session: StudySession, confirmation: StudySession) -> StudySession | None:
    """Queue what follows when all queued runs are over; return None where nothing follows.

    Runs whose predictions are gone are queued again.

    Args:
        session: The searched study.
        confirmation: Its confirmation.
    """
    if requeue_lost(session, confirmation):
        return confirmation
    control = find_control(session)

    def from_slot(_first: int) -> Sequence[Point]:
        runs = read(session).runs
        return next_points(runs, control, confirmation.config.confirm)

    larger = extend_from(confirmation, from_slot)
    return larger if larger.protocol.budget > confirmation.protocol.budget else None


def requeue_lost(session: StudySession, confirmation: StudySession) -> bool:
    """Queue again the runs whose predictions are gone before they were judged.

    Args:
        session: The searched study.
        confirmation: Its confirmation.

    Returns:
        Whether there was any.
    """
    handle = session.storage_handle
    with initialising(parse_url(session.config.storage.url)):
        found = read(session)
        lost = [
            run.row
            for run in (found.runs if found.awaits_verdict else ())
            if not confirmation.trial_paths(run.row.slot or 0).predictions.exists()
            and run.role != CANDIDATE
        ]
        study_id = handle.get_study_id_from_name(confirmation.protocol.study_name)
        for row in lost:
            requeue(handle, handle.database, study_id, handle.get_trial(row.trial_id))
            logger.warning("run %d has lost its predictions: queued again", row.number + 1)
    return bool(lost)


def read(session: StudySession) -> Confirmation:
    """Return the confirmation of a study.

    Raises:
        StudyError: If it has none.
    """
    found = read_confirmation(session.storage_handle, session.protocol.study_name)
    if found is None:
        name = session.protocol.study_name
        raise StudyError(f"study {name!r} must have a confirmation: queue it with `study confirm`")
    return found


def conclude(session: StudySession, confirmation: StudySession) -> Confirmation:
    """Judge the winner, and store the verdict, once; return what is known then.

    Args:
        session: The searched study.
        confirmation: Its confirmation, all runs of which are over.

    Raises:
        StudyError: If every candidate has a run that failed, or predictions are missing.
    """
    found = read(session)
    if found.winner is None:
        raise StudyError(
            f"a candidate of study {session.protocol.study_name!r} must have no run that failed, "
            f"each of {len(found.candidates)} has one: see `study trials --name "
            f"{confirmation.protocol.study_name}`, and widen or move the space in a fork"
        )
    if found.awaits_verdict:
        handle = session.storage_handle
        study_id = handle.get_study_id_from_name(confirmation.protocol.study_name)
        handle.set_study_user_attr(study_id, VERDICT, asdict(_judge(found, confirmation)))
        found = read(session)
    return found


def _judge(found: Confirmation, confirmation: StudySession) -> Verdict:
    plan, names = confirmation.config.confirm, confirmation.protocol.facts["class_names"]
    arms: dict[str, list[JudgedRun]] = {WINNER: [], CONTROL: []}
    for run in found.runs:
        if run.role in arms and run.score is not None and run.row.slot is not None:
            path = confirmation.trial_paths(run.row.slot).predictions
            influence_N = _load_influence(path, names, score=run.score, n_images=found.n_images)
            arms[run.role].append(JudgedRun(run.score, influence_N))
    return judge(arms[WINNER], arms[CONTROL], alpha=plan.alpha, margin=plan.margin)


def _load_influence(
    path: Path, class_names: Sequence[str], *, score: float, n_images: int
) -> NDArray[np.float64]:
    labels_N, predicted_N = load_predictions(path, class_names)
    is_whole = len(labels_N) == n_images
    if not is_whole or abs(macro_f1(labels_N, predicted_N) - score) > ROUNDING:
        raise StudyError(
            f"{path} must hold what its run has predicted for {n_images:,} images, with a "
            f"macro-F1 of {score:.4f}, it does not: remove it, then `study confirm` repeats the "
            "run"
        )
    return macro_f1_influence(labels_N, predicted_N)
