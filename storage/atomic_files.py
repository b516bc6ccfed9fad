"""Files that are written whole or not at all, and what a process leaves that dies meanwhile."""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from storage.access import describe_obstacle, find_closed_folder
from storage.errors import AccessDeniedError, RunFolderError
from storage.group_rights import create_file, share

PART = re.compile(r"\..+\.([0-9]+)\.part")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old or the new one but no half.

    Raises:
        RunFolderError: If the disk is full or the folder cannot be written; no half file stays.
    """
    with writing(path):
        replace_file(path, content)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk, of missing rights and of a lost mount into one line.

    Raises:
        RunFolderError: If one comes from inside.
    """
    try:
        yield
    except PermissionError as error:
        raise AccessDeniedError(
            f"storage.runs must be open to you, {path} cannot be written "
            f"({error.strerror}): {describe_obstacle(Path(error.filename or path))}"
        ) from None
    except OSError as error:
        raise RunFolderError(
            f"storage.runs must have room and be writable, {path} cannot be written "
            f"({error.strerror or error}): free space, or repair the rights or the mount"
        ) from None


def open_without_following(path: str, flags: int) -> int:
    """Open a file, but not where a link leads to: the `opener` of names that others can tell."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def replace_file(path: Path, content: bytes) -> None:
    """Do the same anywhere.

    Creates the file's folder, but none above it: a runs folder whose disk is gone stays empty.

    Raises:
        OSError: If the disk is full or the folder cannot be written; no half file stays.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(exist_ok=True)
        share(path.parent)
    with replacing_file(path) as file:
        file.write(content)


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write in parts, which takes its name when the context ends without an error.

    Raises:
        OSError: If the disk is full or the folder cannot be written; no half file stays.
    """
    # Nobody who may write the folder can know the name, to plant a link there.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.{os.getpid()}.part")
    try:
        with create_file(beside) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; one that is gone is fine.

    Raises:
        RunFolderError: If it cannot be removed.
    """
    with writing(path), suppress(FileNotFoundError):
        if not path.is_dir():
            path.unlink()
            return
        try:
            shutil.rmtree(path)
        except PermissionError as error:  # which names what is in the way without its folder
            closed = find_closed_folder(path) or path
            raise PermissionError(error.errno, error.strerror, str(closed)) from None


@dataclass(frozen=True)
class PartFile:
    """What a process was writing beside a file that it would then replace.

    Attributes:
        pid: The process.
        age_seconds: Time since it last wrote.
    """

    path: Path
    pid: int
    age_seconds: float


def part_files(folder: Path, *, below: bool) -> list[PartFile]:
    """Return the unfinished files in a folder, or everywhere below it too."""
    found = []
    for path in sorted(folder.glob("**/.*.part" if below else ".*.part")):
        name = PART.fullmatch(path.name)
        if name is not None:
            with suppress(FileNotFoundError):  # its process has just finished it
                age_seconds = time.time() - path.lstat().st_mtime
                found.append(PartFile(path, int(name[1]), age_seconds))
    return found
