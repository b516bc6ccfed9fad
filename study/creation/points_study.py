"""Starting, or resuming, a study of given points: a grid, a sweep, a comparison.

It is an ordinary study, so it is run, watched, extended and forked as any other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from data.split_writer import Track, no_progress
from storage.trial_rows import TrialRow, read_trials
from study.configuration.config import Request, StudyConfig, as_stored, validated
from study.configuration.dotted_keys import assign
from study.configuration.fixed_trial import FixedTrial, OutOfRangeError
from study.configuration.points import configured_by
from study.configuration.sections import BudgetConfig
from study.configuration.stored_settings import completed
from study.creation.create import initialise, open_or_create
from study.errors import StudyError
from study.session.location import Location
from study.session.protocol import completed_by
from study.session.session import StudySession, open_session
from study.session.suggested_commands import suggest_command
from study.session.winner import choose_winner
from study.workers.gpus import count_workers, reject_missing_gpu

UNSAMPLED: Mapping[str, Any] = {"search.sampler": "random", "search.pruner": "none"}


@dataclass(frozen=True)
class Plan:
    """Which points a command asks for.

    Attributes:
        suffix: What the command adds to the name of the configuration; empty where that has it.
        points: Makes the points of a configuration.
        is_explicit: Whether options of the command say anything about the points.
        settings: Makes more settings, by dotted key, of a new study; `--set` goes before them.
        base: What the request changes where it names neither preset nor file.
    """

    suffix: str
    points: Callable[[StudyConfig], Sequence[Mapping[str, Any]]]
    is_explicit: bool
    settings: Callable[[StudyConfig], Mapping[str, Any]] = field(default=lambda _config: {})
    base: Mapping[str, Any] | None = None


def open_given(
    request: Request,
    plan: Plan,
    *,
    location: Location | None = None,
    track: Track = no_progress,
) -> StudySession:
    """Create the study of a plan, or open it where it exists.

    Without preset, file and options of points the stored configuration counts.

    Args:
        request: Names the study and its configuration.
        plan: The points.
        location: Where the study is; default that of the request.
        track: Shows the progress of the decoding.

    Raises:
        StudyError: If the study of this name is not one of given points, or the GPU is not here.
        ConfigurationError: If a point is rejected.
        ProtocolError: If the study exists and its stored configuration differs.
        DataError: If the data cannot be used.
        StorageError: If the database or the runs folder is rejected.
    """
    config = request.resolve(base=plan.base)
    name = request.options.get("name") or config.name + plan.suffix
    named = replace(request, options={**request.options, "name": name})
    location = location or Location(request.location().storage)
    found = location.find(name)
    if found is None:
        settings: dict[str, Any] = {**UNSAMPLED, **plan.settings(config)}
        config = _with_points(config, plan, named, settings)
    else:
        if not found.is_of_given_points:
            raise StudyError(
                f"--name must be a study of given points, {name!r} is a search: choose another"
            )
        settings = {"search.budget": BudgetConfig(trials=found.budget)}
        if request.names_configuration or plan.base is not None:
            settings |= {**UNSAMPLED, **plan.settings(config)}
        elif plan.is_explicit:
            config = named.resolve(base=completed(found.configuration))
        else:
            return open_or_create(named, location=location, track=track, works_here=True)
        config = completed_by(_with_points(config, plan, named, settings), found, named)
    count_workers(config)  # rejects what cannot be counted, before anything heavy or stored
    reject_missing_gpu(config)
    return initialise(config, location=location, track=track)


def _with_points(
    config: StudyConfig, plan: Plan, named: Request, settings: Mapping[str, Any]
) -> StudyConfig:
    """Return a configuration with the points of a plan, and settings that `--set` goes before."""
    points = plan.points(config)
    budget = settings.get("search.budget", BudgetConfig(trials=len(points)))
    n_trials = min(len(points), budget.n_first_slots)
    settings = {**settings, "search.budget": {"trials": n_trials}}
    changes = {key: value for key, value in settings.items() if not named.gives(key)}
    changes |= {"name": named.options["name"], "search.space": "given", "search.points": points}
    values = config.model_dump(mode="json")
    for key, value in changes.items():
        assign(values, key, value)
    return validated(values)


def base_of_trial(request: Request, study_name: str, number: int | None) -> dict[str, Any]:
    """Return the configuration of a study with a trial's values in place, as JSON values.

    Args:
        request: Says where the study is.
        study_name: The study.
        number: The trial; None: the winner.

    Raises:
        StudyError: If it has no such trial, or no winner yet.
        StorageError: If there is no such study.
    """
    place = {key: value for key, value in request.options.items() if key.startswith("storage.")}
    session = open_session(Request(options=place), study_name)
    row = choose_winner(session) if number is None else _trial(session, number)
    try:
        config, _ = configured_by(FixedTrial(row.params), session.config)
    except OutOfRangeError:
        raise _no_trial(session, row.number) from None
    return as_stored(config.replacing({"search.space": "joint", "search.points": ()}))


def _trial(session: StudySession, number: int) -> TrialRow:
    for row in read_trials(session.storage_handle, session.protocol.study_name):
        if row.number == number:
            return row
    raise _no_trial(session, number)


def _no_trial(session: StudySession, number: int) -> StudyError:
    name = session.protocol.study_name
    command = suggest_command("trials", "--name", name, storage=session.config.storage)
    return StudyError(
        f"--around-trial must be a trial of study {name!r} that has begun, got {number}: see "
        f"`{command}`"
    )
