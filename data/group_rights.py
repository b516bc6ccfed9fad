"""Which group may use the decoded images, as with git's `core.sharedRepository = group`.

What is created in a folder that its group can write gets that group, and the group's rights of the
folder; the rights of others follow the umask. A folder with the sticky bit, such as /tmp, keeps
its users apart and shares nothing. The same rule as that of `storage.group_rights`.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Literal

_rule: bool | Literal["auto"] = "auto"


def follow(rule: bool | Literal["auto"]) -> None:
    """Set the rule of this process: `storage.group_writable`."""
    global _rule
    _rule = rule


def share(path: Path) -> None:
    """Give a new file or folder to the group of its folder; one of another user stays as it is.

    Where this process is not in that group, or the disk knows no rights, only the umask counts.
    """
    new, above = path.stat(), path.absolute().parent.stat()
    rights = _rights_in(above.st_mode)
    if not rights or new.st_uid != os.geteuid():
        return
    try:
        if new.st_gid != above.st_gid:
            os.chown(path, -1, above.st_gid)
    except OSError:
        if _rule == "auto":
            return
    is_folder = stat.S_ISDIR(new.st_mode)
    rights = rights | above.st_mode & stat.S_ISGID if is_folder else rights & ~stat.S_IXGRP
    mode = stat.S_IMODE(new.st_mode)
    if (wanted := mode & ~stat.S_IRWXG | rights) != mode:
        with suppress(OSError):
            path.chmod(wanted)


def _rights_in(folder_mode: int) -> int:
    """Return what the group may do with what is created in a folder; 0: as the umask says."""
    if _rule == "auto":
        is_shared = folder_mode & stat.S_IWGRP and not folder_mode & stat.S_ISVTX
        return folder_mode & stat.S_IRWXG if is_shared else 0
    return stat.S_IRWXG if _rule else 0


def make_folders(folder: Path) -> None:
    """Create a folder and those above it that are missing, each for the group of the one above.

    Raises:
        OSError: If one cannot be created, or is a file.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        share(one)
    folder.mkdir(exist_ok=True)


def share_tree(folder: Path) -> None:
    """Give a new folder, and all that is in it, to the group of the folder above."""
    share(folder)
    for path in sorted(folder.rglob("*")):  # a folder before what is in it
        share(path)
