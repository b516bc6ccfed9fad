"""From the configured source to its undecoded images and to the fingerprint of its content.

The one place that knows which kinds of source there are. Imports neither torch nor datasets.
"""

import os
import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol

from data.configuration import DataConfig
from data.errors import DataError
from data.sources.encoded_images import EncodedImages, LeftOut
from data.sources.file_index import digest_files, verify_files
from data.sources.folder_walk import readable
from data.sources.folders.image_folder import find_pictures
from data.sources.synthetic import SYNTHETIC_RECIPE, build_synthetic
from data.sources.tables.table_folders import find_tables
from data.sources.tables.table_source import hub_revision, open_tables

SYNTHETIC = "synthetic"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


class FoundFiles(Protocol):
    """The files of a folder that are used, tables or pictures, and how to open them."""

    @property
    def files(self) -> Sequence[str | Path]:
        """All files on which the content depends."""

    @property
    def says(self) -> str:
        """On what else it depends."""

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Files that are not used; which rows are not, only opening tells."""

    def open(self, *, scratch: Path) -> EncodedImages:
        """Open them; `scratch` is for temporary copies and must outlive the result."""


class Source(NamedTuple):
    """What identifies a source, and which of its files are not used.

    The two do not depend on each other: files that are not used may come and go.
    """

    fingerprint: str
    left_out: tuple[LeftOut, ...] = ()


def inspect_source(config: DataConfig) -> Source:
    """Identifies the content of the source, without opening any image.

    A folder by the names and bytes of the files that are used, a hub id by its revision, the
    embedded data set by the recipe that draws it.

    Raises:
        DataError: there is no such source, or it cannot be used as configured.
    """
    if config.source == SYNTHETIC:
        _reject_label_file(config)
        return Source(SYNTHETIC_RECIPE)
    folder = _local_folder(config)
    if folder is None:
        return Source(hub_revision(config.source, configuration=config.configuration))
    found = _find_files(folder, config)
    return Source(_fingerprint(folder, found, cache=config.cache), found.left_out)


def _fingerprint(folder: Path, found: FoundFiles, *, cache: Path) -> str:
    names = _names(folder, found)
    digests_ND = digest_files(folder, names, cache=cache)
    total = blake2b(found.says.encode(), digest_size=16)
    for name, digest in zip(names, digests_ND, strict=True):
        encoded = os.fsencode(os.path.basename(name) if name.startswith("/") else name)
        total.update(len(encoded).to_bytes(8) + encoded + digest.tobytes())
    return total.hexdigest()


def verify_source(config: DataConfig) -> list[str]:
    """Read every file of the source again, even those that look unchanged since the last time.

    Returns:
        The names of files that have changed although size, times of change and inode have not.

    Raises:
        DataError: there is no such source, or it cannot be used as configured.
    """
    folder = None if config.source == SYNTHETIC else _local_folder(config)
    if folder is None:
        return []
    names = _names(folder, _find_files(folder, config))
    return [readable(name) for name in verify_files(folder, names, cache=config.cache)]


def open_source(config: DataConfig, *, scratch: Path) -> EncodedImages:
    """Opens the configured source.

    Args:
        config: names the source and its columns.
        scratch: an existing folder for temporary copies, which must outlive the result.

    Raises:
        DataError: the source cannot be used as configured.
    """
    is_synthetic = config.source == SYNTHETIC
    folder = build_synthetic(config.cache) if is_synthetic else _local_folder(config)
    if folder is None:
        return open_tables(config.source, config)
    return _find_files(folder, config).open(scratch=scratch)


def _local_folder(config: DataConfig) -> Path | None:
    """The source's folder, or none for a hub id."""
    source = config.source
    try:
        folder = Path(source).expanduser()
    except RuntimeError as error:  # no such user
        raise DataError(
            f"data.source: '{source}' cannot be found ({error}); correct it"
        ) from error
    if folder.is_dir():
        return folder
    if folder.exists():
        raise DataError(
            f"data.source must be a folder, '{source}' is a file; name the folder above it"
        )
    if HUB_ID.fullmatch(source):
        _reject_label_file(config)
        return None
    kinds = (
        "an existing folder" if os.sep in source else "a folder, hub id (owner/name) or synthetic"
    )
    raise DataError(
        f"data.source must be {kinds}, '{source}' does not exist; give the folder with --data"
    )


def _reject_label_file(config: DataConfig) -> None:
    if config.label_file is not None:
        raise DataError(
            f"data.label_file is for folders of images, '{config.source}' is no folder; remove "
            "the setting or correct --data"
        )


def _find_files(folder: Path, config: DataConfig) -> FoundFiles:
    return find_tables(folder, config) or find_pictures(folder, config)


def _names(folder: Path, found: FoundFiles) -> list[str]:
    """The paths of the files below the folder; a file elsewhere has an absolute one."""
    prefix = os.path.join(folder, "")
    paths = [os.fspath(path) for path in found.files]
    return [
        path[len(prefix) :] if path.startswith(prefix) else _locate(path, folder) for path in paths
    ]


def _locate(path: str, folder: Path) -> str:
    inside = os.path.relpath(path, folder)
    return os.path.abspath(path) if inside.startswith("..") else inside
