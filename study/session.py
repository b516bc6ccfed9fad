"""Opening a study: what `study init` creates, and what every other command works on."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from data.image_cache import PreparedData, prepare
from data.split_writer import Track, no_progress
from model.baselines import majority_baseline, random_baseline
from storage.configuration import StorageConfig
from storage.database import initialising, parse_url
from storage.errors import StudyNotFoundError
from storage.records import (
    Protocol,
    add_protocol,
    find_protocol,
    raise_budget,
    read_protocol,
    study_names,
)
from storage.run_paths import RunPaths, TrialPaths
from storage.study_storage import StudyStorage, create_study_storage, open_study_storage
from study.config import Request, StudyConfig, as_stored, validated
from study.errors import StudyError
from study.protocol import (
    protocol_fingerprint,
    refuse_differences,
    refuse_other_budget,
    refuse_other_data,
)
from study.provenance import git_revision, versions
from study.stopping import StopFlag

# Optuna would say on standard error that a study was created; we say it ourselves.
optuna.logging.set_verbosity(optuna.logging.WARNING)

FINAL_SUFFIX = "-final"
INIT_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Point:
    """A place in the queue.

    Attributes:
        params: Optuna parameters given beforehand; what is missing is sampled.
        attributes: More user attributes of the trial.
    """

    params: Mapping[str, Any]
    attributes: Mapping[str, Any]


SAMPLED = Point({}, {})


@dataclass(frozen=True)
class StudySession:
    """An opened study.

    Attributes:
        config: The study's configuration, with the operational settings given here.
        protocol: What the study fixed.
        storage_handle: Its database.
        is_final: Whether this is the queue of final runs of a searched study.
    """

    config: StudyConfig
    protocol: Protocol
    storage_handle: StudyStorage
    is_final: bool

    @property
    def searched_name(self) -> str:
        """Name of the searched study, also for its final runs."""
        return self.protocol.study_name.removesuffix(FINAL_SUFFIX)

    @property
    def paths(self) -> RunPaths:
        """Folders of the searched study."""
        return RunPaths(self.config.storage.runs, self.searched_name)

    def trial_paths(self, slot: int) -> TrialPaths:
        """Files of a place in the queue."""
        return self.paths.final(slot) if self.is_final else self.paths.trial(slot)

    def optuna_study(self) -> optuna.Study:
        """Return Optuna's view of the study."""
        return optuna.load_study(study_name=self.protocol.study_name, storage=self.storage_handle)

    def prepare_data(self, *, track: Track = no_progress) -> PreparedData:
        """Open the study's data.

        Raises:
            ProtocolError: If the data are not those that the study began with.
        """
        prepared = prepare(self.config.data, track=track)
        refuse_other_data(self.protocol, prepared.fingerprint)
        return prepared


def final_name(study_name: str) -> str:
    """Return the name under which a study's final runs are queued."""
    return study_name + FINAL_SUFFIX


def open_session(request: Request, name: str | None = None) -> StudySession:
    """Open an existing study with the operational settings that are asked for.

    Args:
        request: Names the database and the runs folder; anything else it says must be operational,
            or what the study fixed.
        name: Name of the study; default the request's, or the only one in the database.

    Raises:
        StudyNotFoundError: If it does not exist.
        StorageError: If the database or the runs folder is refused.
        ProtocolError: If the request differs from what the study fixed.
    """
    place = request.resolve(base={})
    handle = open_study_storage(place.storage.url, outage_seconds=place.storage.outage_seconds)
    protocol = read_protocol(handle.database, name or _requested_name(request, place, handle))
    asked = request.resolve(base=protocol.configuration)
    session = _session(asked, protocol, handle, place.storage)
    refuse_differences(validated(protocol.configuration), asked)
    session.paths.check(read_protocol(handle.database, session.searched_name).study_key)
    return session


def await_session(request: Request, *, stop: StopFlag) -> StudySession:
    """Open a study, waiting a minute for the `study init` that creates it.

    Raises:
        StudyNotFoundError: If it still does not exist.
    """
    until = time.monotonic() + INIT_WAIT_SECONDS
    while True:
        try:
            return open_session(request)
        except StudyNotFoundError:
            if time.monotonic() > until or stop.is_set:
                raise
            time.sleep(1.0)


def _requested_name(request: Request, place: StudyConfig, handle: StudyStorage) -> str:
    if request.options.get("name") or request.preset or request.file:
        return place.name
    names = [name for name in study_names(handle.database) if not name.endswith(FINAL_SUFFIX)]
    if len(names) == 1:
        return names[0]
    raise StudyError(
        f"--name must say which study, there are {', '.join(names) or 'none yet'}: add --name NAME"
    )


def _session(
    asked: StudyConfig, protocol: Protocol, handle: StudyStorage, place: StorageConfig
) -> StudySession:
    location = {"url": place.url, "runs": place.runs}
    threads = protocol.configuration["workers"]["threads"]
    config = asked.model_copy(
        update={
            "name": protocol.study_name.removesuffix(FINAL_SUFFIX),
            "storage": asked.storage.model_copy(update=location),
            "workers": asked.workers.model_copy(update={"threads": threads}),
        }
    )
    is_final = protocol.study_name.endswith(FINAL_SUFFIX)
    return StudySession(config, protocol, handle, is_final)


def initialise(
    config: StudyConfig,
    *,
    name: str | None = None,
    points: Iterable[Point] | None = None,
    track: Track = no_progress,
) -> StudySession:
    """Create a study with its whole budget as waiting trials, or complete one that was cut off.

    Data are prepared and folders checked before the database is touched.

    Args:
        config: The resolved configuration.
        name: Under which the study is stored; default `config.name`.
        points: Places of the queue with given parameters; default the budget, sampled.
        track: Shows the progress of the decoding.

    Returns:
        The opened study.

    Raises:
        ProtocolError: If the study exists and was fixed differently.
        DataError: If the data cannot be used.
        StorageError: If the database or the runs folder is refused.
    """
    name = name or config.name
    queue = list(points) if points is not None else [SAMPLED] * config.search.n_trials
    found = _find_protocol(config, name)
    prepared = prepare(config.data, track=track)
    if found is not None:
        refuse_differences(validated(found.configuration), config)
        refuse_other_data(found, prepared.fingerprint)
        refuse_other_budget(name, fixed=found.budget, given=len(queue))
    else:
        _check_runs_folder(config, name)
        config = _with_threads(config)
    handle = create_study_storage(config.storage.url, outage_seconds=config.storage.outage_seconds)
    with initialising(parse_url(config.storage.url)):
        protocol = find_protocol(handle.database, name)
        if protocol is None:
            protocol = Protocol(
                study_name=name,
                budget=len(queue),
                configuration=as_stored(config),
                fingerprint=protocol_fingerprint(config, prepared.fingerprint),
                facts=_facts(prepared),
            )
            add_protocol(handle.database, protocol)
        session = _session(config, protocol, handle, config.storage)
        if not session.is_final:
            session.paths.claim(protocol.study_key)
        optuna.create_study(
            study_name=name, storage=handle, direction="maximize", load_if_exists=True
        )
        _fill_queue(session, queue)
    return session


def extend(session: StudySession, points: list[Point]) -> StudySession:
    """Add places to the queue of a study; return the study with its larger budget."""
    name = session.protocol.study_name
    with initialising(parse_url(session.config.storage.url)):
        protocol = read_protocol(session.storage_handle.database, name)
        larger = replace(protocol, budget=protocol.budget + len(points))
        raise_budget(session.storage_handle.database, name, larger.budget)
        extended = replace(session, protocol=larger)
        _fill_queue(extended, [SAMPLED] * protocol.budget + points)
    return extended


def _find_protocol(config: StudyConfig, name: str) -> Protocol | None:
    try:
        handle = open_study_storage(
            config.storage.url, outage_seconds=config.storage.outage_seconds
        )
    except StudyNotFoundError:
        return None
    return find_protocol(handle.database, name)


def _fill_queue(session: StudySession, queue: list[Point]) -> None:
    """Add the places that are missing; the caller holds the init lock."""
    optuna_study = session.optuna_study()
    there = {trial.user_attrs["slot"] for trial in optuna_study.get_trials(deepcopy=False)}
    for slot in range(session.protocol.budget):
        if slot not in there:
            point = queue[slot]
            given = {"fixed_params": dict(point.params)} if point.params else {}
            optuna_study.add_trial(
                create_trial(
                    state=TrialState.WAITING,
                    user_attrs={"slot": slot, **point.attributes},
                    system_attrs=given,
                )
            )


def _check_runs_folder(config: StudyConfig, name: str) -> None:
    folder = RunPaths(config.storage.runs, name.removesuffix(FINAL_SUFFIX)).folder
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise StudyError(
            f"--runs must be a folder that can be written, {nearest} cannot: choose another"
        )
    if not name.endswith(FINAL_SUFFIX) and any(_visible(folder)):
        raise StudyError(
            f"--runs must hold no other study {name!r}, {folder} is in use: "
            "move it away, or choose another --name or --runs"
        )


def _visible(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _with_threads(config: StudyConfig) -> StudyConfig:
    if config.workers.threads is not None:
        return config
    threads = max(1, (os.cpu_count() or 1) // config.workers.n_workers)
    workers = config.workers.model_copy(update={"threads": threads})
    return config.model_copy(update={"workers": workers})


def _facts(prepared: PreparedData) -> dict[str, Any]:
    described = prepared.description
    train, validation = described.class_counts["train"], described.class_counts["validation"]
    return {
        "data_fingerprint": prepared.fingerprint,
        "class_names": list(prepared.class_names),
        "n_examples": dict(described.counts),
        "n_dropped": dict(described.dropped_counts),
        "baselines": {
            "majority": vars(majority_baseline(validation, train_counts=train)),
            "random": vars(random_baseline(validation)),
        },
        "versions": versions(),
        "git_revision": git_revision(),
    }
