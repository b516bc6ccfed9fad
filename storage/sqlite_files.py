"""The files of a SQLite database, for several users: who may write them, and in which group.

SQLite makes two files beside a database in WAL mode, `-wal` and `-shm`, with the rights of the
database but in the group of the process; the last connection removes them. A user who cannot open
one of them can neither read nor write the database.
"""

import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.access import describe_obstacle
from storage.errors import AccessDeniedError
from storage.group_rights import create_file, share


def companions(path: Path) -> tuple[Path, Path]:
    """Return the log of changes and its index, which lie beside the file, not beside a link."""
    path = path.resolve()
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def is_writable(path: Path) -> bool:
    """Return whether this user may write a database: its folder, and all its files."""
    return find_unwritable(path) is None


def find_unwritable(path: Path) -> Path | None:
    """Return what this user may not write of a database, None where nothing is in the way."""
    path = path.resolve()
    there = [one for one in (path, *companions(path)) if one.exists()]
    return next((one for one in (path.parent, *there) if not os.access(one, os.W_OK)), None)


def reject_unwritable(path: Path) -> None:
    """Reject a database that this user may read at most, before anything is begun.

    Raises:
        AccessDeniedError: If it is one.
    """
    if (obstacle := find_unwritable(path)) is not None:
        raise AccessDeniedError(
            f"storage.url must be a database that you can write, {path} is not: "
            f"{describe_obstacle(obstacle)}"
        )


def create_database(path: Path) -> None:
    """Create an empty database where there is none: SQLite itself makes it for one user only."""
    with suppress(FileExistsError):
        create_file(path).close()


def connect_shared(path: Path, *given: Any, **options: Any) -> sqlite3.Connection:
    """Open a database, with its two other files in the group of the folder.

    Args:
        path: The database.
        given: What `sqlite3.connect` is given besides, `database` first.
        options: The same by name.
    """
    if _needs_another_group(path):
        for file in companions(path):
            with suppress(FileExistsError):
                create_file(file).close()
    return sqlite3.Connection(*given, **options)


def share_companions(path: Path) -> None:
    """Give the two other files to the group of the folder, where they were made meanwhile."""
    if _needs_another_group(path):
        for file in companions(path):
            with suppress(FileNotFoundError):
                share(file)


def _needs_another_group(path: Path) -> bool:
    """Return whether new files would not get the group of their folder by themselves."""
    folder = path.resolve().parent.stat()
    inherits = folder.st_mode & stat.S_ISGID or folder.st_gid == os.getegid()
    if inherits or os.geteuid() == 0:  # for root, SQLite itself gives them the database's group
        return False
    return is_writable(path) and path.stat().st_gid == folder.st_gid
