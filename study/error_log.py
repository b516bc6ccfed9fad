"""Where the traceback of an unexpected error goes: into the runs folder, else on standard error.

Must not import the other packages, before it is known that they are this program's.
"""

import sys
import traceback
from datetime import datetime
from pathlib import Path

NAME = "study-error.log"
_folders: list[Path] = []


def log_errors_in(folder: Path) -> None:
    """Let tracebacks go to this folder from now on, as soon as it is there."""
    if folder in _folders:
        _folders.remove(folder)
    _folders.insert(0, folder)


def log_traceback() -> str:
    """Write the traceback of the error that is being handled.

    It goes to the last folder named that exists, to the current one where none was named.

    Returns:
        Where it is, in words.
    """
    from storage.atomic_files import open_without_following
    from storage.group_rights import share

    text = traceback.format_exc()
    folder = next((one for one in _folders if one.is_dir()), Path())
    try:
        path = folder.absolute() / NAME
        with open(path, "a", opener=open_without_following) as file:
            file.write(f"{datetime.now().astimezone().isoformat(' ', 'seconds')}\n{text}")
        share(path)
    except OSError:  # a folder that cannot be written, or a link, must not hide what happened
        sys.stderr.write(text)
        return "traceback above"
    return f"traceback in {path}"
