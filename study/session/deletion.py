"""The deletion of a study: its rows in the database, its run folder, or both.

The folder is given up before the rows are deleted, and removed after them: whatever a crash
leaves, the same command finishes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dashboards.formatting import shown_bytes
from storage.configuration import shown_url
from storage.errors import StorageError
from storage.records import (
    Protocol,
    find_protocol,
    no_such_study,
)
from storage.run_folder_deletion import (
    FolderSize,
    give_up,
    given_up_folders,
    measure_folders,
    reject_closed,
    remove_given_up,
    take_back,
)
from storage.run_paths import RunPaths
from storage.study_deletion import delete_named_study, names_to_delete, reject_workers
from storage.study_names import follows_a_search, searched_name
from storage.study_totals import read_totals
from storage.test_evaluations import (
    read_tests,
)
from study.errors import StudyError
from study.session.location import Location


@dataclass(frozen=True)
class Deletion:
    """What is deleted of a study.

    Attributes:
        name: Of the study.
        location: Where it is; its database is open.
        protocol: Of the study; None where its rows are deleted already, or stay.
        study_key: Of its run folder; None where that is gone already, or stays.
        n_trials: Trials and final runs among the rows.
        n_epochs: Epochs among the rows.
        folders: The run folder, and what an earlier deletion has left of it.
        size: Of these folders.
        stays: A folder of the study's name that is not its own, None without one.
        n_tests: Test evaluations, whose rows always stay: what was seen cannot be unseen.
    """

    name: str
    location: Location
    protocol: Protocol | None
    study_key: str | None
    n_trials: int
    n_epochs: int
    folders: tuple[Path, ...]
    size: FolderSize
    stays: Path | None
    n_tests: int

    def lines(self) -> Iterator[str]:
        """Yield what is deleted, and what is not."""
        if self.protocol is not None:
            url = shown_url(self.location.config.url)
            counted = f"{self.n_trials:,} trials and final runs with {self.n_epochs:,} epochs"
            yield f"study {self.name} in {url}: {counted}"
        for folder in self.folders:
            yield f"folder {folder}"
        if self.folders:
            yield f"{self.size.n_files:,} files, {shown_bytes(self.size.n_bytes)}"
        if self.stays is not None:
            yield f"{self.stays} is not the run folder of this study: it stays"
        if self.n_tests and self.protocol is not None:
            yield "the record that its test split was opened stays"

    def execute(self) -> None:
        """Delete it.

        Raises:
            StorageError: If a worker trains one of its trials, which changes nothing.
            RunFolderError: If a file cannot be removed; the same command goes on.
        """
        handle, grace = self.location.open(), self.location.config.grace_seconds
        paths = RunPaths(self.location.config.runs, self.name)
        reject_workers(handle, self.name, grace=grace)
        if self.study_key is not None:
            give_up(paths, self.study_key)
        if self.protocol is not None:
            try:
                delete_named_study(handle, self.name, grace=grace)
            except StorageError:  # a worker began in this moment
                if self.study_key is not None:
                    take_back(paths, self.study_key)
                raise
        if self.folders:
            remove_given_up(paths.runs, self.name)


def plan_deletion(
    location: Location, name: str, *, rows: bool = True, folder: bool = True
) -> Deletion:
    """Find what there is of a study; its protocol need not be one that this code can read.

    Args:
        location: Where it is.
        name: Of the study; confirmation and final runs are deleted with it.
        rows: Whether its rows are deleted.
        folder: Whether its run folder is.

    Raises:
        StudyNotFoundError: If there is nothing of that name.
        StudyError: If the name is that of what follows a search, or the folder is elsewhere.
        StorageError: If a worker trains one of its trials, or this user cannot remove the folder.
    """
    if follows_a_search(name):
        searched = searched_name(name)
        raise StudyError(
            f"--name must be a searched study, {name!r} are runs of {searched!r} that follow its "
            f"search and are deleted with it: give --name {searched}"
        )
    handle, runs = location.open(), location.config.runs
    protocol, paths = find_protocol(handle.database, name), RunPaths(runs, name)
    left = given_up_folders(runs, name) if folder else []
    if protocol is None and not left:
        raise no_such_study(handle.database, name)
    reject_workers(handle, name, grace=location.config.grace_seconds)
    is_own = protocol is not None and paths.key() == protocol.study_key
    is_own = is_own and not paths.folder.is_symlink()
    if folder and protocol is not None and not (is_own or left):
        _reject_folder_elsewhere(protocol, runs)
    queues = handle.database.read(lambda connection: names_to_delete(connection, name))
    totals = [one for queue in queues for one in read_totals(handle.database, queue)]
    folders = [*([paths.folder] if folder and is_own else []), *left]
    reject_closed(folders)
    is_there = paths.folder.exists() or paths.folder.is_symlink()
    return Deletion(
        name=name,
        location=location,
        protocol=protocol if rows else None,
        study_key=protocol.study_key if folder and is_own and protocol else None,
        n_trials=sum(one.n_trials for one in totals),
        n_epochs=sum(one.n_epochs for one in totals),
        folders=tuple(folders),
        size=measure_folders(folders),
        stays=paths.folder if folder and is_there and not is_own else None,
        n_tests=len(read_tests(handle.database, name)),
    )


def _reject_folder_elsewhere(protocol: Protocol, runs: Path) -> None:
    """Reject a runs folder that is not the one where the study has its run folder."""
    fixed = protocol.runs_folder
    if fixed is None or Path(fixed).resolve() == runs.resolve():
        return
    if RunPaths(Path(fixed), protocol.study_name).key() == protocol.study_key:
        raise StudyError(
            f"--runs must be the folder of study {protocol.study_name!r}, its run folder lies in "
            f"{fixed}, not in {runs}: add `--runs {fixed}`, or `--only rows`"
        )
