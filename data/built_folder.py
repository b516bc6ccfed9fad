"""Folders that exist whole or not at all, whoever builds them and however they are cut off.

One that is damaged later is set aside and built again. The image cache and the synthetic data set
are both built this way. Must not know what is built.
"""

import errno
import logging
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from data.errors import DamagedFolderError, DataError
from data.file_digests import check_sizes, write_digests
from data.group_rights import make_folders, share, share_tree

logger = logging.getLogger(__name__)

Check = Callable[[Path], object]


def build_once(folder: Path, build: Callable[[Path], None], *, check: Check = check_sizes) -> None:
    """Builds a folder unless it is there; processes that come meanwhile wait and find it.

    Args:
        folder: where the finished folder appears, in one step.
        build: fills the (empty, temporary) folder it is given.
        check: raises DamagedFolderError where the finished folder is missing or damaged.

    Raises:
        DataError: the folder can be neither read nor written, or its disk is full.
    """
    found = None
    try:
        check(folder)
        return
    except DamagedFolderError as damage:
        found = damage if folder.is_dir() else None
    try:
        make_folders(folder.parent)
        with FileLock(_lock_file(folder)):
            try:
                check(folder)
            except DamagedFolderError as damage:
                if folder.is_dir():
                    _set_aside(folder, damage)
                _build(folder, build)
    except OSError as error:
        explained = _explained(error, folder.parent)
        raise DataError(f"{found}, and {explained}") if found else explained from error


def require_free_space(folder: Path, *, n_bytes: int) -> None:
    """Rejects before the work starts when the disk cannot hold its result.

    Args:
        folder: an existing folder on that disk.
        n_bytes: what will be written.

    Raises:
        DataError: fewer bytes are free.
    """
    n_free = shutil.disk_usage(folder).free
    if n_free < n_bytes:
        raise DataError(
            f"data.cache: the disk of {folder.parent} must have {n_bytes / 1e9:.2f} GB free, it "
            f"has {n_free / 1e9:.2f} GB; free some, choose another cache folder or fewer images"
        )


def _set_aside(folder: Path, damage: DamagedFolderError) -> None:
    """Keep one damaged folder for those who look for the cause; others may still read it."""
    aside = folder.with_name(f"{folder.name}.damaged")
    if aside.exists():
        shutil.rmtree(aside)
    folder.rename(aside)
    logger.warning("%s: set aside as %s, built again", damage, aside.name)


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    prefix = f".{folder.name}.building-"
    # Whoever holds the lock is alone: what others left under this name was cut off.
    for stale in folder.parent.glob(f"{prefix}*"):
        _remove_stale(stale)
    building = folder.with_name(f"{prefix}{secrets.token_hex(8)}")
    building.mkdir()
    try:
        share(building)  # at once, for whoever removes what a killed process leaves
        build(building)
        write_digests(building)
        share_tree(building)
        _flush(building)
        building.rename(folder)
        _flush_folder(folder.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except PermissionError:  # libraries make folders that follow the umask of their user alone
        logger.warning("%s is left of a build that was cut off: its owner may remove it", folder)


def _lock_file(folder: Path) -> Path:
    """Return the lock of a folder, which all of a group may take."""
    lock = folder.with_name(f"{folder.name}.lock")
    if not lock.exists():
        lock.touch()
        share(lock)
    return lock


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            _flush_folder(path)
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explained(error: OSError, folder: Path) -> DataError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DataError(
            f"data.cache: the disk of {folder} is full ({error.strerror}); free some space or "
            "choose another cache folder"
        )
    return DataError(
        f"data.cache: cannot write to {folder} ({error.strerror or error}); choose a folder you "
        "may write to"
    )
