"""What lies in the runs folder: whose the run folders are, and how other rooms know them."""

import itertools
import os
from contextlib import suppress
from pathlib import Path

from storage.access import describe_obstacle
from storage.errors import AccessDeniedError, RunFolderError
from storage.group_rights import create_file, make_folders
from storage.run_paths import RUNS_MARKER, RunPaths, subfolders


def claimed_folders(runs: Path) -> dict[Path, str]:
    """Return the run folders of all studies, of whichever database, with the keys in them."""
    studies = [RunPaths(runs, entry.name) for entry in subfolders(runs)]
    keys = {paths.folder: paths.key() for paths in studies}
    return {folder: key for folder, key in keys.items() if key is not None}


def mark_runs(folder: Path) -> None:
    """Mark a folder of the runs folder, and that one, as none of a source that it lies in.

    What cannot be written is left to whoever writes there next.
    """
    for marked in (folder.parent, folder):
        with suppress(OSError):
            make_folders(marked)
            create_file(marked / RUNS_MARKER).close()


def lies_in_runs(path: Path) -> bool:
    """Return whether a path lies in the run folder of a study, whose files are its own."""
    # Not Path.exists, which raises in a folder that is closed to this user.
    return any(
        os.path.exists(above / RUNS_MARKER) and os.path.exists(above.parent / RUNS_MARKER)
        for above in path.resolve().parents
    )


def free_name(folder: Path) -> Path:
    """Return a name beside a folder that nothing has: `tiny-old`, `tiny-old-2`, ..."""
    numbers = itertools.count(2)
    found = folder.with_name(f"{folder.name}-old")
    while found.exists():
        found = folder.with_name(f"{folder.name}-old-{next(numbers)}")
    return found


def reject_unwritable(paths: RunPaths) -> None:
    """Reject the run folder of a study where this user cannot write it.

    Raises:
        RunFolderError: If it is mounted read-only.
        AccessDeniedError: If it, or a folder in it, is closed to this user.
    """
    if os.statvfs(paths.folder).f_flag & os.ST_RDONLY:
        raise RunFolderError(
            f"storage.runs must be a folder that can be written, {paths.folder} cannot: "
            "mount it writable, or give the right folder with --runs"
        )
    for folder in (paths.folder, paths.folder / "trials", paths.logs):
        if folder.exists() and not os.access(folder, os.W_OK):
            raise AccessDeniedError(
                f"storage.runs must be a folder that you can write, {paths.folder} is not: "
                f"{describe_obstacle(folder)}"
            )
