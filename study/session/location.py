"""The one way to a database: opened once for each command, closed when the command ends."""

from typing import Self

from storage.configuration import StorageConfig
from storage.errors import StudyDeletedError, StudyNotFoundError
from storage.records import Protocol, find_protocol, study_names
from storage.study_names import follows_a_search, searched_name
from storage.study_storage import (
    StudyStorage,
    create_study_storage,
    open_study_storage,
    reject_read_only,
)
from study.error_log import log_errors_in
from study.errors import StudyError
from study.session.suggested_commands import suggest_command


class Location:
    """Where studies are kept: a database, which the first call opens, and a runs folder.

    A context manager that closes the database in the end.

    Args:
        config: Address of the database, the runs folder, and how long an outage is waited out.
        outage_seconds: A shorter wait, for what can be tried again.
        read_only: Whether the database itself rejects every write.
        handle: The database where it is open already.
    """

    def __init__(
        self,
        config: StorageConfig,
        *,
        outage_seconds: float | None = None,
        read_only: bool = False,
        handle: StudyStorage | None = None,
    ) -> None:
        self.config = config
        if outage_seconds is not None:
            self.config = config.model_copy(update={"outage_seconds": outage_seconds})
        self.read_only = read_only
        log_errors_in(config.runs)
        self._handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; the next call opens it again."""
        if self._handle is not None:
            self._handle.remove_session()
            self._handle.engine.dispose()
        self._handle = None

    def open(self) -> StudyStorage:
        """Return the database.

        Raises:
            StudyNotFoundError: If it does not exist.
            StorageError: If the address is rejected, unreachable, or of another version of ours.
        """
        if self._handle is None:
            self._handle = open_study_storage(
                self.config.url,
                outage_seconds=self.config.outage_seconds,
                read_only=self.read_only,
            )
        return self._handle

    def create(self) -> StudyStorage:
        """Return the database, created where it does not exist.

        Raises:
            StorageError: If it cannot be created or written.
        """
        try:
            reject_read_only(self.open(), self.config.url)
        except StudyNotFoundError:
            self._handle = create_study_storage(
                self.config.url, outage_seconds=self.config.outage_seconds
            )
        return self.open()

    def find(self, name: str | None = None) -> Protocol | None:
        """Return the protocol of a study, None without one.

        Args:
            name: Of the study; default the only one.

        Raises:
            StudyDeletedError: If Optuna's own tools have deleted it.
            StudyError: If a name is needed.
        """
        try:
            handle = self.open()
            found = find_protocol(handle.database, name or self.only_study())
        except StudyNotFoundError:
            return None
        if found is not None:
            self.reject_deleted(found)
        return found

    def only_study(self, *, besides: str = "") -> str:
        """Return the name of the one study of the database, what follows a search not counted.

        Args:
            besides: Name of another study, which counts only where it is alone.

        Raises:
            StudyError: If there are several.
            StudyNotFoundError: If there are none.
        """
        there = study_names(self.open().database)
        searched = [name for name in there if not follows_a_search(name)]
        names = [name for name in searched if name != besides] or searched
        if not names:
            raise StudyNotFoundError(
                "--name must say which study, there are none yet: create one with `study init`"
            )
        if len(names) != 1:
            raise StudyError(
                f"--name must say which study, there are {', '.join(names)}: add --name NAME"
            )
        return names[0]

    def reject_deleted(self, protocol: Protocol) -> None:
        """Reject a study that has a protocol, but is missing in Optuna's tables.

        Raises:
            StudyDeletedError: If it is; the message holds the command that frees its name.
        """
        try:
            self.open().get_study_id_from_name(protocol.study_name)
        except KeyError:
            name = searched_name(protocol.study_name)
            command = suggest_command("doctor", "--name", name, "--repair", storage=self.config)
            raise StudyDeletedError(
                f"study {protocol.study_name!r} was deleted with Optuna's own tools, its protocol "
                f"and run folder are left: `{command}` sets them aside, then the name is free"
            ) from None
