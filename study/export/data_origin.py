"""What a model folder says of the data behind it: enough to know them again, but no path."""

import hashlib
import os
from pathlib import Path
from typing import Any

from storage.records import Protocol


def describe_data(protocol: Protocol) -> dict[str, Any]:
    """Return what is noted of the data of a study.

    Their folder is noted by its name, and by a digest of its path that only who has the folder at
    hand can compare.
    """
    source = protocol.data_source
    is_folder = Path(source).is_absolute()
    return {
        "data_source": Path(source).name if is_folder else source,
        "data_fingerprint": protocol.data_fingerprint,
        "data_splits": protocol.origins,
        "data_folder_digest": digest_path(source) if is_folder else None,
    }


def digest_path(folder: str) -> str:
    """Return a digest of the path of a folder, links followed."""
    return hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()
