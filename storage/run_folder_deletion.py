"""The deletion of a study's run folder, which a crash may cut off anywhere.

The folder is renamed first, in one step: what has the new name was given up by its own study, so
that whoever deletes a study of that name again may remove the rest.
"""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from storage.access import describe_obstacle, find_closed_folder
from storage.atomic_files import remove, writing
from storage.errors import AccessDeniedError
from storage.run_paths import RunPaths

GIVEN_UP = re.compile(r"\.(?P<name>.+)\.(?P<key>[0-9a-zA-Z-]+)\.deleted")


@dataclass(frozen=True)
class FolderSize:
    """What lies in folders.

    Attributes:
        n_files: Files, at any depth.
        n_bytes: Their size together.
    """

    n_files: int
    n_bytes: int


def measure_folders(folders: Iterable[Path]) -> FolderSize:
    """Return how much lies in folders; what vanishes meanwhile does not count."""
    n_files = n_bytes = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                with suppress(OSError):
                    n_bytes += os.lstat(os.path.join(parent, name)).st_size
                    n_files += 1
    return FolderSize(n_files, n_bytes)


def given_up_folders(runs: Path, study_name: str | None = None) -> list[Path]:
    """Return the folders that a deletion has given up and not removed.

    Args:
        runs: The folder of all studies.
        study_name: Name of the study; None: of all.
    """
    if not runs.is_dir():
        return []
    named = {entry: GIVEN_UP.fullmatch(entry.name) for entry in sorted(runs.iterdir())}
    return [
        entry
        for entry, found in named.items()
        if found and study_name in (None, found["name"]) and not entry.is_symlink()
    ]


def reject_closed(folders: Iterable[Path]) -> None:
    """Reject folders that this user cannot remove whole, before any part of them is gone.

    Raises:
        AccessDeniedError: If a folder in one of them is closed to this user.
    """
    for closed in filter(None, map(find_closed_folder, folders)):
        raise AccessDeniedError(
            f"a run folder must be yours to delete, {closed} is not, nothing is deleted: "
            f"{describe_obstacle(closed)}"
        )


def give_up(paths: RunPaths, study_key: str) -> Path:
    """Rename the run folder of a study, so that it is nobody's any more; return its new path.

    Raises:
        StorageError: If it is that of another study.
        RunFolderError: If it cannot be renamed.
    """
    paths.check(study_key)
    with writing(paths.folder):
        return paths.folder.rename(paths.folder.with_name(_given_up_name(paths, study_key)))


def take_back(paths: RunPaths, study_key: str) -> None:
    """Undo `give_up`, for a study that turned out to be in use.

    Raises:
        RunFolderError: If it cannot be renamed.
    """
    given_up = paths.folder.with_name(_given_up_name(paths, study_key))
    with writing(paths.folder):
        given_up.rename(paths.folder)


def remove_given_up(runs: Path, study_name: str) -> None:
    """Remove what deletions of a study have given up.

    Raises:
        RunFolderError: If something cannot be removed.
    """
    for folder in given_up_folders(runs, study_name):
        remove(folder)


def _given_up_name(paths: RunPaths, study_key: str) -> str:
    return f".{paths.study_name}.{study_key}.deleted"
