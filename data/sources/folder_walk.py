"""How the folders of a source are walked: the fingerprint and the list of pictures see the same.

Must not know what the files hold.
"""

import os
from pathlib import Path

from data.errors import DataError


def list_files(folder: Path) -> list[Path]:
    """List the files below a folder, in the order of their paths, without hidden ones.

    Links are followed, but no folder is entered twice: two links to `.` have no end, and a split
    that links to another one shares its images.

    Raises:
        DataError: a folder cannot be read or is reached twice, or something is no regular file.
    """
    entered: dict[tuple[int, int], str] = {}
    files: list[str] = []
    waiting = [str(folder)]
    while waiting:
        current = waiting.pop()
        try:
            facts = os.stat(current)
            first = entered.setdefault((facts.st_dev, facts.st_ino), current)
            if first is not current:
                raise DataError(
                    f"data.source: folder '{current}' must be reached once, it is '{first}' too; "
                    "remove the link"
                )
            folders, found = _scan(current)
        except OSError as error:
            raise DataError(
                f"data.source: '{error.filename}' cannot be read ({error.strerror}); repair that "
                "or move it away"
            ) from error
        waiting += folders
        files += found
    return sorted(map(Path, files))


def _scan(folder: str) -> tuple[list[str], list[str]]:
    """Folders in reverse order, and files."""
    folders, files = [], []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            folders.append(entry.path)
        elif entry.is_file():
            files.append(entry.path)
        else:  # opening a pipe would wait for ever
            raise DataError(
                f"data.source: '{entry.path}' must be a file or folder, or a link to one, it is "
                "none; remove it"
            )
    return folders, files
