"""Whose a file is that this user cannot use, and what opens it: one line for every such error."""

import grp
import os
import pwd
import shlex
import stat
from pathlib import Path

WHOSE = "belongs to user"


def find_denied_file(error: BaseException | None) -> Path | None:
    """Return the file that was closed to this user where an error comes from that, else None.

    Nor is there one where a tree was removed, whose errors name a file without its folder.
    """
    while error is not None:
        if isinstance(error, PermissionError) and error.filename is not None:
            path = Path(os.fsdecode(error.filename))
            is_elsewhere = not path.is_absolute() and _can_create(path)
            return None if is_elsewhere else path
        error = error.__cause__ or error.__context__
    return None


def _can_create(path: Path) -> bool:
    return not os.path.lexists(path) and os.access(path.parent, os.W_OK | os.X_OK)


def describe_denial(said: str, path: Path) -> str:
    """Return one line about a file that is closed to this user.

    Args:
        said: What is known besides, in one line, which may say whose the file is.
        path: The file.
    """
    if WHOSE in said:
        return said
    return f"{said or f'{path} must be open to you'}: {describe_obstacle(path)}"


def describe_obstacle(path: Path) -> str:
    """Return whose a file or folder is, who asks, and the remedy.

    Args:
        path: What cannot be read or written; the folder in its way is found.
    """
    obstacle = find_obstacle(path)
    found = obstacle.stat()
    where = shlex.quote(str(obstacle))
    whose = (
        f"{obstacle} {WHOSE} {_user(found.st_uid)}, group {_group(found.st_gid)} "
        f"({stat.filemode(found.st_mode)}), and you are {_user(os.geteuid())}"
    )
    if found.st_uid == os.geteuid():
        return f"{whose}: open it with `chmod -R u+rwX {where}`"
    if _holds_more(obstacle, found):
        return f"{whose}: give a folder of yours, or one of a group of both"
    command = f"chgrp -R GROUP {where} && chmod -R g+rwX {where}"
    return f"{whose}: let the owner give it to a group of both with `{command}`"


def find_closed_folder(top: Path) -> Path | None:
    """Return the first folder in a tree, `top` included, in which this user can remove nothing."""
    rights = os.R_OK | os.W_OK | os.X_OK
    folders = (Path(folder) for folder, _, _ in os.walk(top))
    return next((one for one in folders if not os.access(one, rights)), None)


def _holds_more(path: Path, found: os.stat_result) -> bool:
    """Return whether a folder holds much else, whose rights nobody should change as a whole.

    Those are the first two levels of the disk, each mount, each home folder, and those where
    every user keeps files apart.
    """
    if not stat.S_ISDIR(found.st_mode):
        return False
    is_top = len(path.parts) <= 2 or path.is_mount()
    is_home = any(path == Path(user.pw_dir) for user in pwd.getpwall())
    return is_top or is_home or bool(found.st_mode & stat.S_ISVTX)


def find_obstacle(path: Path) -> Path:
    """Return the folder that cannot be entered, the file itself, or the folder it is to be in."""
    path = path.absolute()
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK):
            return folder if folder.exists() else folder.parent
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return path
    return path.parent


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
