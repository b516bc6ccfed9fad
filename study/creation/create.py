"""Creating a study, with its whole budget as a queue.

The protocol is stored last, under a lock: a study that can be found is whole, and what a cut-off
`init` has left behind is replaced by the next one.
"""

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from data.image_cache import PreparedData, prepare
from data.split_writer import Track, no_progress
from storage.addresses import parse_url, sqlite_path
from storage.budget import Budget
from storage.init_lock import initialising
from storage.optuna_rows import METRIC_NAME, METRIC_NAMES, SLOT
from storage.orphaned_rows import remove_orphans
from storage.own_study import own_trials
from storage.records import (
    Protocol,
    add_protocol,
    find_protocol,
)
from storage.run_folders import free_name, mark_runs
from storage.run_paths import RunPaths
from storage.study_names import follows_a_search, searched_name
from storage.study_storage import StudyStorage
from study.configuration.config import DEFAULT_PRESET, Request, StudyConfig, as_stored
from study.configuration.stored_settings import completed
from study.creation.facts import budget_facts, facts_of
from study.creation.queue import Point, build_points, fill_queue
from study.creation.warm_start import ReadWarmStart, add_imported, start_cold
from study.errors import StudyError
from study.session.enqueue import adopt_enqueued, requeue_finished_elsewhere
from study.session.group_rule import follow_group_rule
from study.session.location import Location
from study.session.protocol import (
    completed_by,
    protocol_fingerprint,
    reject_added_settings,
    reject_differences,
    reject_missing_folder,
    reject_other_budget,
    reject_other_data,
    reject_other_format,
    reject_other_runs_folder,
    resolve_source,
)
from study.session.session import StudySession, bind
from study.trial.dashboard_notes import note_study
from study.workers.gpus import count_threads, count_workers, reject_missing_gpu


def open_or_create(
    request: Request,
    *,
    location: Location | None = None,
    track: Track = no_progress,
    works_here: bool = False,
) -> StudySession:
    """Create the study of a request, or open it where it exists.

    Without preset and file the stored configuration counts, without a given budget the stored
    one.

    Args:
        request: Names the study and its configuration.
        location: Where it is; default that of the request.
        track: Shows the progress of the decoding.
        works_here: Whether workers of this machine follow, which must have the device.

    Raises:
        StudyError: If `workers.n_workers` is auto and there is no GPU, or the device is not here.
        ProtocolError: If the study exists and its stored configuration differs.
        DataError: If the data cannot be used.
        StorageError: If the database or the runs folder is rejected.
    """
    location = location or Location(request.location().storage)
    config, _ = resolve_at(location, request)
    count_workers(config)  # rejects what cannot be counted, before anything heavy or stored
    if works_here:
        reject_missing_gpu(config)
    # Workers that adopt enqueued trials let the budget grow.
    gives_budget = request.gives("search.budget")
    return initialise(config, location=location, gives_budget=gives_budget, track=track)


def resolve_at(location: Location, request: Request) -> tuple[StudyConfig, Protocol | None]:
    """Return the configuration of a request, and the protocol of its study where there is one.

    Without preset and file the configuration that the study has stored counts.
    """
    found = location.find(request.location().name or DEFAULT_PRESET)
    if found is None:
        return request.resolve(), None
    base = completed(found.configuration)
    config = completed_by(request.resolve(base=base), found, request)
    reject_missing_folder(found, config)
    return config, found


def initialise(
    config: StudyConfig,
    *,
    location: Location | None = None,
    name: str | None = None,
    points: Iterable[Point] | None = None,
    gives_budget: bool = True,
    read_warm_start: ReadWarmStart = start_cold,
    track: Track = no_progress,
) -> StudySession:
    """Create a study with a budget of trials as waiting ones; one that exists stays as it is.

    A budget in epochs or hours begins with one waiting trial, and the queue grows as it is spent.

    Settings are rejected before data are decoded, and data before anything is stored.

    Args:
        config: The resolved configuration.
        location: Where the study is; default that of the configuration.
        name: Under which the study is stored; default `config.name`.
        points: Slots of the queue with given parameters; default those of the configuration.
        gives_budget: Whether a study of another budget is rejected.
        read_warm_start: Called where the study is created, for what else it begins with.
        track: Shows the progress of the decoding.

    Returns:
        The opened study.

    Raises:
        ProtocolError: If the study exists and its stored configuration differs.
        DataError: If the data cannot be used.
        StorageError: If the database or the runs folder is rejected.
    """
    follow_group_rule(config.storage)
    name = name or config.name
    n_slots = config.search.budget.n_first_slots
    queue = build_points(config, range(n_slots)) if points is None else list(points)
    limit = config.search.budget.limit if points is None else Budget("trials", len(queue))
    budget = limit if gives_budget else None
    paths = RunPaths(config.storage.runs, searched_name(name))
    # Checked before the protocol, for another `init` may finish between the two checks.
    in_use = paths.folder.is_dir() and not paths.is_unused()
    location = location or Location(config.storage)
    found = location.find(name)
    if found is not None:
        _reject_other(found, config, budget=budget)
    else:
        in_use = in_use and not follows_a_search(name)
        reject_runs_folder(paths.folder, config, in_use=in_use)
    prepared = prepare(config.data, track=track)
    handle = location.create()
    mark_runs(paths.folder)
    handle.database.outage_seconds = config.storage.outage_seconds
    with initialising(parse_url(config.storage.url)):
        protocol = find_protocol(handle.database, name)
        if protocol is not None:
            _reject_other(protocol, config, budget=budget)
            reject_other_data(protocol, config, prepared.fingerprint)
        else:
            protocol = _create(
                handle, _completed(config), name, queue, limit, prepared, read_warm_start
            )
        session = bind(config, protocol, handle, config.storage)
        if session.is_search:
            session.paths.claim(protocol.study_key)
    requeue_finished_elsewhere(session)
    session = adopt_enqueued(session)
    note_study(session)
    return session


def _create(
    handle: StudyStorage,
    config: StudyConfig,
    name: str,
    queue: Sequence[Point],
    limit: Budget,
    prepared: PreparedData,
    read_warm_start: ReadWarmStart,
) -> Protocol:
    """Fill the study, then store the protocol; the caller holds the init lock."""
    _remove_leftovers(handle, name)
    warm_start = read_warm_start(handle, prepared)
    optuna_study = optuna.create_study(
        study_name=name,
        storage=handle,
        direction="maximize",
        load_if_exists=True,  # only where the answer to its creation was lost
    )
    handle.set_study_system_attr(optuna_study._study_id, METRIC_NAMES, [METRIC_NAME])
    add_imported(handle, optuna_study, warm_start)
    fill_queue(optuna_study, queue, first_slot=0)
    protocol = Protocol(
        study_name=name,
        budget=len(queue),
        configuration=as_stored(config),
        fingerprint=protocol_fingerprint(config, prepared.fingerprint),
        facts={**facts_of(prepared, config), **budget_facts(limit), **warm_start.facts},
    )
    add_protocol(handle.database, protocol)
    return protocol


def _remove_leftovers(handle: StudyStorage, name: str) -> None:
    """Remove what an `init` that was cut off before its protocol has left in Optuna's tables.

    Raises:
        StudyError: If somebody else's Optuna study has this name.
    """
    for study in handle.get_all_studies():
        if study.study_name == name:
            trials = handle.get_all_trials(study._study_id, deepcopy=False)
            if len(own_trials(trials)) < len(trials) or any(map(has_run, trials)):
                raise StudyError(
                    f"--name must be free, the database holds another program's study {name!r}, "
                    "or a copy: choose another --name"
                )
            handle.delete_study(study._study_id)
    # Also of studies that somebody has deleted with Optuna's own command.
    remove_orphans(handle.database)


def has_run(trial: FrozenTrial) -> bool:
    """Return whether a slot has been worked on, or is."""
    return SLOT in trial.user_attrs and trial.state != TrialState.WAITING


def _reject_other(protocol: Protocol, config: StudyConfig, *, budget: Budget | None) -> None:
    reject_other_format(protocol, config)
    reject_added_settings(protocol, config)
    reject_differences(protocol, config)
    if not follows_a_search(protocol.study_name):
        reject_other_runs_folder(protocol, config)
    if budget is not None:
        reject_other_budget(protocol, config, budget)


def reject_runs_folder(folder: Path, config: StudyConfig, *, in_use: bool) -> None:
    """Reject the run folder of a new study if it cannot be written or is not free.

    Raises:
        StudyError: If it is the database file, cannot be written, or is in use.
    """
    url = parse_url(config.storage.url)
    if url.drivername == "sqlite" and sqlite_path(url) == folder.absolute():
        raise StudyError(
            f"--name must not make the run folder the database file, {folder} is both: "
            "choose another --name"
        )
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise StudyError(
            f"--runs must be a folder that can be written, {nearest} cannot: choose another"
        )
    if in_use:
        move = shlex.join(["mv", str(folder), str(free_name(folder))])
        raise StudyError(
            f"--runs must hold no other study {folder.name!r}, {folder} is in use: "
            f"move it away with `{move}`, or choose another --name or --runs"
        )


def _completed(config: StudyConfig) -> StudyConfig:
    """Return the configuration with threads counted and a local source as an absolute path."""
    return config.replacing(
        {
            "workers.threads": count_threads(config),
            "data.source": resolve_source(config.data.source),
        }
    )
