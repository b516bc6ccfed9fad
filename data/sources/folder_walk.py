"""How the folders of a source are walked: the fingerprint and the list of pictures see the same.

Must not know what the files hold.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import DataError

RUNS_MARKER = ".study-runs"
"""A folder below a source that has a file of this name holds runs of studies: never entered."""


@dataclass(slots=True)
class Folder:
    """A folder with the names of its files, sorted: those that are used and the others.

    `n_used` counts those that are used in all folders below it too.
    """

    path: str
    name: str
    used: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: list["Folder"] = field(default_factory=list)
    n_used: int = 0

    def below(self) -> Iterator["Folder"]:
        """Yield the folder and all folders below it, in the order of their paths."""
        waiting = [self]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting.extend(reversed(folder.folders))

    def used_below(self) -> list[str]:
        """Return the paths of the used files of the folder and of all folders below it."""
        return [f"{folder.path}/{name}" for folder in self.below() for name in folder.used]


def walk(
    root: Path,
    *,
    is_used: Callable[[str, str], bool],
    skipped: Path | None = None,
    setting: str = "data.source",
) -> Folder:
    """List the files below a folder, without hidden ones and without runs of studies.

    Links are followed, but no folder is entered twice: two links to `.` have no end, and a split
    that links to another one shares its images.

    Args:
        root: The folder.
        is_used: Says of a folder's path and of a name in it whether that file is used.
        skipped: A folder that is not entered.
        setting: What messages call the setting, or argument, that names the folder.

    Raises:
        DataError: A folder cannot be read or is reached twice, or something is no regular file.
    """
    skipped_identity = None
    if skipped is not None:
        with suppress(OSError):
            skipped_identity = _identity(str(skipped))
    entered: dict[tuple[int, int], str] = {}
    top: list[Folder] = []
    visited: list[Folder] = []
    waiting: list[tuple[list[Folder], str, str]] = [(top, str(root), root.name)]
    while waiting:
        siblings, path, name = waiting.pop()
        folder = Folder(path, name)
        try:
            identity = _identity(path)
            entries = _entries(path)
            if visited and (identity == skipped_identity or _holds_runs(entries)):
                continue
            _enter(path, identity, entered, setting)
            subfolders = _sort_in(folder, entries, is_used, setting)
        except OSError as error:
            raise DataError(
                f"{setting}: '{readable(error.filename)}' cannot be read ({error.strerror}); "
                "repair that or move it away"
            ) from error
        siblings.append(folder)
        visited.append(folder)
        waiting += [(folder.folders, f"{path}/{name}", name) for name in reversed(subfolders)]
    for folder in reversed(visited):
        folder.n_used = len(folder.used) + sum(below.n_used for below in folder.folders)
    return top[0]


def neither_file_nor_folder(path: str, setting: str) -> DataError:
    """Make the error that rejects a pipe, a device, or a link that leads nowhere."""
    return DataError(
        f"{setting}: '{readable(path)}' must be a file or folder, or a link to one, it is none; "
        "move it away, or name what lies beside it"
    )


def list_files(folder: Path) -> list[Path]:
    """List the files below a folder, in the order of their paths, without hidden ones.

    Raises:
        DataError: As `walk` does.
    """
    return sorted(map(Path, walk(folder, is_used=lambda _path, _name: True).used_below()))


def readable(path: Path | str) -> str:
    """Return a path for messages and records, which hold nothing but UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _identity(path: str) -> tuple[int, int]:
    facts = os.stat(path)
    return facts.st_dev, facts.st_ino


def _enter(
    path: str, identity: tuple[int, int], entered: dict[tuple[int, int], str], setting: str
) -> None:
    first = entered.setdefault(identity, path)
    if first is not path:
        raise DataError(
            f"{setting}: folder '{readable(path)}' must be reached once, it is "
            f"'{readable(first)}' too; remove the link"
        )


def _entries(path: str) -> list[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _holds_runs(entries: list[os.DirEntry[str]]) -> bool:
    return any(entry.name == RUNS_MARKER for entry in entries)


def _sort_in(
    folder: Folder,
    entries: list[os.DirEntry[str]],
    is_used: Callable[[str, str], bool],
    setting: str,
) -> list[str]:
    """Put the files into the folder; return the names of its folders."""
    subfolders = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            subfolders.append(entry.name)
        elif entry.is_file():
            files = folder.used if is_used(folder.path, entry.name) else folder.others
            files.append(entry.name)
        else:  # opening a pipe would wait for ever
            raise neither_file_nor_folder(entry.path, setting)
    return subfolders
