"""Optuna's storage with our engine settings and patience, and our tables beside it.

Only `create_study_storage` creates tables; several workers that create an empty database at once
fail (Optuna issues 1092 and 4621).
"""

import functools
import json
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import exc
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from storage.addresses import existing_url, parse_url, shown, sqlite_path
from storage.adoption import ENQUEUED
from storage.database import Database, find_remedy, is_transient, patience, reason_of
from storage.engines import engine_options, prepare_engine, reading
from storage.errors import DatabaseAwayError, StorageError, StudyNotFoundError
from storage.frozen_trials import among, read_frozen_studies, read_frozen_trials, trials
from storage.init_lock import initialising
from storage.optuna_rows import SLOT
from storage.records import IMPORTED_FROM
from storage.sqlite_files import create_database, reject_unwritable
from storage.tables import SCHEMA_VERSION, metadata, service_version

R = TypeVar("R")
UNIQUE_ATTRIBUTES = (SLOT, IMPORTED_FROM, ENQUEUED)


def _patient(method: Callable[..., R]) -> Callable[..., R]:
    """Repeat a method of Optuna's storage while the database is away."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> R:
        return cast(R, self.database.ask(method, self, *args, **kwargs))

    return call


def _patient_reader(method: Callable[..., R]) -> Callable[..., R]:
    """The same for a method that only reads: it takes no write lock on SQLite."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> R:
        with reading():
            return cast(R, self.database.ask(method, self, *args, **kwargs))

    return call


class StudyStorage(RDBStorage):
    """Optuna's `RDBStorage`, hardened for many workers.

    Args:
        url: A checked address.
        outage_seconds: How long transient errors are waited out, in seconds.
        create: Whether missing tables (and a missing SQLite file) are created.
        read_only: Whether the database itself is to reject every write.
    """

    def __init__(
        self,
        url: URL,
        *,
        outage_seconds: float,
        create: bool = False,
        read_only: bool = False,
    ) -> None:
        self.outage_seconds = outage_seconds
        self.read_only = read_only
        self.address = url
        location = url.render_as_string(hide_password=False) if create else existing_url(url)
        location = location.replace("{", "%7B").replace("}", "%7D")
        super().__init__(
            location,
            # To create its tables, Optuna opens connections within another.
            engine_options(url, read_only=read_only, pooled=not create),
            skip_compatibility_check=True,  # `_check_versions` does it with one connection
            skip_table_creation=not create,
        )
        self._equip()

    def _equip(self) -> None:
        prepare_engine(self.engine, self.address, read_only=self.read_only)
        self.database = Database(self.engine, outage_seconds=self.outage_seconds)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        del state["database"]
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._equip()

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> models.TrialModel:
        """Add a trial, or find the place in the queue that is there already.

        Optuna repeats an insertion whose answer was lost, up to five times. It calls this within
        the transaction that has locked the study's row, so a place is never doubled.
        """
        attributes = template_trial.user_attrs if template_trial is not None else {}
        attribute = models.TrialUserAttributeModel
        for key in attributes.keys() & UNIQUE_ATTRIBUTES:
            same = (attribute.key == key) & (attribute.value_json == json.dumps(attributes[key]))
            found = sqlalchemy.select(models.TrialModel).join(attribute)
            there = session.scalars(
                found.where(models.TrialModel.study_id == study_id, same)
            ).first()
            if there is not None:
                return there
        return super()._get_prepared_new_trial(study_id, template_trial, session)

    # Optuna's cache calls these private methods, not the public ones that call them.
    create_new_study = _patient(RDBStorage.create_new_study)
    delete_study = _patient(RDBStorage.delete_study)
    set_study_user_attr = _patient(RDBStorage.set_study_user_attr)
    set_study_system_attr = _patient(RDBStorage.set_study_system_attr)
    _create_new_trial = _patient(RDBStorage._create_new_trial)
    _set_trial_param = _patient(RDBStorage._set_trial_param)
    set_trial_state_values = _patient(RDBStorage.set_trial_state_values)
    set_trial_intermediate_value = _patient(RDBStorage.set_trial_intermediate_value)
    set_trial_user_attr = _patient(RDBStorage.set_trial_user_attr)
    set_trial_system_attr = _patient(RDBStorage.set_trial_system_attr)

    get_study_id_from_name = _patient_reader(RDBStorage.get_study_id_from_name)
    get_study_name_from_id = _patient_reader(RDBStorage.get_study_name_from_id)
    get_study_directions = _patient_reader(RDBStorage.get_study_directions)
    get_study_user_attrs = _patient_reader(RDBStorage.get_study_user_attrs)
    get_study_system_attrs = _patient_reader(RDBStorage.get_study_system_attrs)
    get_trial_user_attrs = _patient_reader(RDBStorage.get_trial_user_attrs)
    get_trial_system_attrs = _patient_reader(RDBStorage.get_trial_system_attrs)
    get_trial_param = _patient_reader(RDBStorage.get_trial_param)
    get_trial_id_from_study_id_trial_number = _patient_reader(
        RDBStorage.get_trial_id_from_study_id_trial_number
    )
    get_trial = _patient_reader(RDBStorage.get_trial)
    _get_best_trial_id = _patient_reader(RDBStorage._get_best_trial_id)

    @_patient_reader
    def get_trials(self, trial_ids: Sequence[int]) -> list[FrozenTrial]:
        """Read trials by row number; one that is not there is left out."""
        with self.engine.begin() as connection:
            return read_frozen_trials(connection, among(trials.c.trial_id, trial_ids))

    @_patient_reader
    def get_all_studies(self) -> list[FrozenStudy]:
        """Read every study, the oldest first."""
        with self.engine.begin() as connection:
            return read_frozen_studies(connection)

    @_patient_reader
    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Read the trials after a row number, and those that are included."""
        number, study = trials.c.trial_id, models.StudyModel.study_id
        newer = (number > trial_id_greater_than) | among(number, included_trial_ids)
        with self.engine.begin() as connection:
            if not connection.scalar(sqlalchemy.select(study).where(study == study_id)):
                raise KeyError(models.NOT_FOUND_MSG)
            found = read_frozen_trials(connection, (trials.c.study_id == study_id) & newer)
        return [trial for trial in found if states is None or trial.state in states]


def create_study_storage(text: str, *, outage_seconds: float) -> StudyStorage:
    """Open a database, creating it and its tables where they are missing.

    Args:
        text: The database address, `storage.url`.
        outage_seconds: How long later calls wait for an unreachable database, in seconds.

    Raises:
        StorageError: If the address is rejected, unreachable, or of another version of ours.
    """
    url = parse_url(text)
    with _rejections(url), initialising(url):  # reached once: from here an outage is waited out
        if url.drivername == "sqlite":
            create_database(sqlite_path(url))
            reject_unwritable(sqlite_path(url))
        created = patience(outage_seconds)(
            StudyStorage, url, outage_seconds=outage_seconds, create=True
        )
        created.database.write(_create_tables)
        created.remove_session()
        created.engine.dispose()
        opened = patience(outage_seconds)(StudyStorage, url, outage_seconds=outage_seconds)
        _check_versions(opened, url)
    return opened


def _create_tables(connection: sqlalchemy.Connection) -> None:
    """Create our tables and say their version, in one transaction."""
    metadata.create_all(connection)
    if connection.execute(sqlalchemy.select(service_version)).first() is None:
        connection.execute(service_version.insert().values(version=SCHEMA_VERSION))


def open_study_storage(
    text: str, *, outage_seconds: float, read_only: bool = False
) -> StudyStorage:
    """Open an existing database; nothing is created.

    Args:
        text: The database address, `storage.url`.
        outage_seconds: How long later calls wait for an unreachable database, in seconds.
        read_only: Whether the database itself is to reject every write through this handle.

    Raises:
        StudyNotFoundError: If there is no database, or it has none of our tables.
        AccessDeniedError: If this user may not write it, and it is not only read.
        StorageError: If the address is rejected, unreachable, or of another version of ours.
    """
    url = parse_url(text)
    missing = StudyNotFoundError(
        f"storage.url must name a database with a study, {shown(url)} has none: "
        "create it with `study init`, or check --storage"
    )
    if url.drivername == "sqlite" and not sqlite_path(url).is_file():
        raise missing
    if url.drivername == "sqlite" and not read_only:
        reject_unwritable(sqlite_path(url))
    options = engine_options(url, read_only=read_only, pooled=False)
    with _rejections(url):
        bare = sqlalchemy.create_engine(existing_url(url), **options)
        if not sqlalchemy.inspect(bare).has_table(service_version.name):
            raise missing
        opened = StudyStorage(url, outage_seconds=outage_seconds, read_only=read_only)
        _check_versions(opened, url)
    return opened


def reject_read_only(handle: StudyStorage, text: str) -> None:
    """Reject a database that cannot be written.

    Raises:
        StorageError: If it cannot.
    """
    same = service_version.update().values(version=SCHEMA_VERSION)
    with _rejections(parse_url(text)):
        handle.database.write(lambda connection: connection.execute(same))


@contextmanager
def _rejections(url: URL) -> Iterator[None]:
    """Turn what a driver says about an unusable database into one line."""
    try:
        yield
    except (StorageInternalError, exc.DBAPIError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if not isinstance(cause, exc.DBAPIError):
            raise
        kind: type[StorageError] = StorageError
        hint = find_remedy(cause) or "check --storage"
        if is_transient(cause):
            kind, hint = DatabaseAwayError, "try again, or check --storage"
        raise kind(
            f"storage.url must be a usable database, {shown(url)} is not "
            f"({reason_of(cause)}): {hint}"
        ) from error


def _check_versions(opened: StudyStorage, url: URL) -> None:
    """Reject tables of other versions, ours and Optuna's."""
    found = opened.database.read(
        lambda connection: connection.execute(
            sqlalchemy.select(service_version.c.version)
        ).scalar()
    )
    if found != SCHEMA_VERSION:
        raise StorageError(
            f"storage.url must hold tables of version {SCHEMA_VERSION}, {shown(url)} holds "
            f"{found}: use the version of this program that wrote it, or a new database"
        )
    manager = opened._version_manager
    there, known = opened.database.ask(manager.get_current_version), manager.get_head_version()
    if there != known:
        raise StorageError(
            f"storage.url must hold Optuna's tables of version {known}, {shown(url)} holds "
            f"{there}: use the version of Optuna that wrote it, or a new database"
        )
