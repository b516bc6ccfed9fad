"""An opened study: what every command but `study init` begins with."""

import logging
import time
from dataclasses import dataclass, replace

import optuna
from optuna.trial import TrialState

from data.image_cache import PreparedData, prepare
from data.split_writer import Track, no_progress
from model.seeds import derive_seed
from storage.configuration import StorageConfig
from storage.errors import DatabaseAwayError, StudyDeletedError, StudyNotFoundError
from storage.own_study import OwnStudy, SampledStudy, open_study
from storage.records import Protocol, read_protocol
from storage.run_paths import RunPaths, TrialPaths
from storage.study_names import CONFIRM_SUFFIX, FINAL_SUFFIX, follows_a_search, searched_name
from storage.study_storage import StudyStorage
from storage.study_totals import (
    Slot,
    count_states,
    longest_epoch_seconds,
    read_slots,
    read_totals,
)
from study.configuration.config import Request, StudyConfig
from study.configuration.stored_settings import completed
from study.error_log import log_errors_in
from study.session.group_rule import follow_group_rule
from study.session.location import Location
from study.session.protocol import (
    compare_code,
    completed_by,
    reject_added_settings,
    reject_differences,
    reject_missing_folder,
    reject_other_data,
    reject_other_format,
    reject_other_runs_folder,
)
from study.stop_signal import StopFlag, StopRequested

# Optuna would say on standard error that a study was created; we say it ourselves.
optuna.logging.set_verbosity(optuna.logging.WARNING)

logger = logging.getLogger(__name__)

INIT_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class StudySession:
    """An opened study.

    Attributes:
        config: The study's configuration, with the operational settings given here.
        protocol: The stored protocol.
        storage_handle: Its database.
        is_final: Whether this is the queue of final runs of a searched study.
    """

    config: StudyConfig
    protocol: Protocol
    storage_handle: StudyStorage
    is_final: bool

    @property
    def searched_name(self) -> str:
        """Name of the searched study, also for what follows its search."""
        return searched_name(self.protocol.study_name)

    @property
    def is_search(self) -> bool:
        """Whether this is a searched study itself, or one of given points."""
        return not follows_a_search(self.protocol.study_name)

    @property
    def is_confirmation(self) -> bool:
        """Whether this is the queue of runs that confirm the winner of a searched study."""
        return self.protocol.study_name.endswith(CONFIRM_SUFFIX)

    @property
    def location(self) -> Location:
        """Where the study is kept, with its open database."""
        return Location(self.config.storage, handle=self.storage_handle)

    @property
    def paths(self) -> RunPaths:
        """Folders of the searched study."""
        return RunPaths(self.config.storage.runs, self.searched_name)

    @property
    def sampling_seed(self) -> int:
        """Seed of the sampler: a fork that took trials over must not draw their points again."""
        fork = self.protocol.forked_from
        if fork is None or not fork["taken_over"]:
            return self.config.seed
        return derive_seed(self.config.seed, "fork", self.protocol.study_name)

    def trial_paths(self, slot: int) -> TrialPaths:
        """Files of a slot of the queue."""
        if self.is_confirmation:
            return self.paths.confirmation(slot)
        return self.paths.final(slot) if self.is_final else self.paths.trial(slot)

    def optuna_study(self) -> OwnStudy:
        """Return Optuna's view of the study, without foreign trials."""
        return open_study(self.storage_handle, self.protocol.study_name)

    def sampled_study(self) -> SampledStudy:
        """Return the same as samplers and pruners see it."""
        return SampledStudy(self.protocol.study_name, self.storage_handle)

    def slots(self) -> list[Slot]:
        """Return the trials that are slots of the queue."""
        return read_slots(self.storage_handle.database, self.protocol.study_name)

    def has_begun(self) -> bool:
        """Return whether any slot of the queue has been worked on, be it for an epoch."""
        totals = read_totals(self.storage_handle.database, self.protocol.study_name)
        waiting = TrialState.WAITING
        return any(one.state != waiting or one.n_begun for one in totals if not one.is_imported)

    def has_complete_trial(self) -> bool:
        """Return whether there is a result to choose from."""
        return TrialState.COMPLETE in self.count_states()

    def count_states(self) -> dict[TrialState, int]:
        """Return how many trials are in each state."""
        return count_states(self.storage_handle.database, self.protocol.study_name)

    def longest_epoch_seconds(self) -> float | None:
        """Return the duration of the longest epoch of the study so far, None before the first."""
        return longest_epoch_seconds(self.storage_handle.database, self.protocol.study_name)

    def prepare_data(self, *, track: Track = no_progress) -> PreparedData:
        """Open the study's data.

        Raises:
            ProtocolError: If the data are not those that the study began with, or their folder is
                not there.
        """
        reject_missing_folder(self.protocol, self.config)
        prepared = prepare(self.config.data, track=track)
        reject_other_data(self.protocol, self.config, prepared.fingerprint)
        return prepared

    def compare_code(self) -> None:
        """Warn, or reject, when this code differs from the code that created the study.

        Raises:
            ProtocolError: If it differs and `protocol.strict` is set.
        """
        compare_code(self.protocol, self.config)


def final_name(study_name: str) -> str:
    """Return the name under which a study's final runs are queued."""
    return study_name + FINAL_SUFFIX


def confirm_name(study_name: str) -> str:
    """Return the name under which the runs that confirm a study's winner are queued."""
    return study_name + CONFIRM_SUFFIX


def open_session(
    request: Request,
    name: str | None = None,
    *,
    location: Location | None = None,
    reading: bool = False,
    with_runs: bool = False,
) -> StudySession:
    """Open an existing study with the operational settings of a request.

    Args:
        request: Anything but operational settings must be as in the stored configuration.
        name: Name of the study; default the request's, or the only one in the database.
        location: Where it is; default that of the request. One that is only read needs no runs
            folder.
        reading: Whether the default location is only read.
        with_runs: Whether a reader needs the runs folder too.

    Raises:
        StudyNotFoundError: If it does not exist.
        StorageError: If the database or the runs folder is rejected.
        ProtocolError: If the request differs from what the study fixed.
    """
    asked = request.location()
    location = location or Location(asked.storage, read_only=reading)
    reading = location.read_only
    if reading and asked.name is not None and follows_a_search(asked.name):
        name, request = name or asked.name, _without_name(request)
    try:
        handle = location.open()
        protocol = read_protocol(handle.database, name or asked.name or location.only_study())
        location.reject_deleted(protocol)
        base = completed(protocol.configuration)
        config = completed_by(request.resolve(base=base), protocol, request)
        reject_differences(protocol, config)
        if not reading:
            reject_other_format(protocol, config)
            reject_added_settings(protocol, config)
        session = bind(config, protocol, handle, location.config)
        if with_runs or not reading:
            searched = read_protocol(handle.database, session.searched_name)
            reject_other_runs_folder(searched, session.config, reading=reading)
            session.paths.check(searched.study_key)
    except Exception:
        location.close()  # whoever waits for an `init` tries again and again
        raise
    return session


def _without_name(request: Request) -> Request:
    """Return a request whose name is that of the stored configuration."""
    return replace(request, options={**request.options, "name": None})


def await_session(request: Request, *, stop: StopFlag) -> StudySession:
    """Open a study, waiting a minute for the `study init` that creates it, or out an outage.

    Raises:
        StudyNotFoundError: If it still does not exist.
        DatabaseAwayError: If the database still does not answer.
        StopRequested: If a stop signal comes while waiting.
    """
    start = time.monotonic()
    asked = request.location()
    location, name = Location(asked.storage), asked.name
    if name is not None and follows_a_search(name):
        request = _without_name(request)
    said = ""
    while True:
        try:
            return open_session(request, name, location=location)
        except StudyDeletedError:
            raise
        except (StudyNotFoundError, DatabaseAwayError) as error:
            is_away = isinstance(error, DatabaseAwayError)
            waits_seconds = location.config.outage_seconds if is_away else INIT_WAIT_SECONDS
            if time.monotonic() - start > waits_seconds:
                raise
            if str(error) != said:
                said = str(error)
                logger.warning("waiting: %s", said)
        if stop.is_set:
            raise StopRequested
        time.sleep(1.0)


def bind(
    config: StudyConfig, protocol: Protocol, handle: StudyStorage, place: StorageConfig
) -> StudySession:
    """Return a session on a study.

    Args:
        config: The stored configuration with the operational settings of this process.
        protocol: The stored protocol.
        handle: The study's database.
        place: Its address, and the runs folder.
    """
    bound = config.replacing(
        {
            "name": searched_name(protocol.study_name),
            "storage.url": place.url,
            "storage.runs": place.runs,
            "workers.threads": protocol.threads,
        }
    )
    follow_group_rule(bound.storage)
    is_final = protocol.study_name.endswith(FINAL_SUFFIX)
    session = StudySession(bound, protocol, handle, is_final)
    log_errors_in(session.paths.folder)
    return session
