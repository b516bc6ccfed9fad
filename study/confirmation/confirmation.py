"""The confirmation of a study: queued like a study of given points, judged when it is over."""

from collections.abc import Sequence
from dataclasses import asdict

from dashboards.analysis.confirmation.reading import (
    CONTROL,
    VERDICT,
    WINNER,
    Confirmation,
    read_confirmation,
)
from dashboards.analysis.confirmation.verdict import JudgedRun, Verdict, judge
from data.split_writer import Track, no_progress
from model.macro_f1_influence import macro_f1_influence
from storage.records import Protocol
from storage.run_paths import searched_name
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

    Args:
        session: The searched study.
        confirmation: Its confirmation.
    """
    control = find_control(session)

    def from_slot(_first: int) -> Sequence[Point]:
        runs = read(session).runs
        return next_points(runs, control, confirmation.config.confirm)

    larger = extend_from(confirmation, from_slot)
    return larger if larger.protocol.budget > confirmation.protocol.budget else None


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
    is_comparable = found.is_over and not found.n_failed and not found.is_control_the_winner
    if found.verdict is None and is_comparable:
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
            labels_N, predicted_N = load_predictions(path, names)
            influence_N = macro_f1_influence(labels_N, predicted_N)
            arms[run.role].append(JudgedRun(run.score, influence_N))
    return judge(arms[WINNER], arms[CONTROL], alpha=plan.alpha, margin=plan.margin)
