"""From the configured source to its undecoded images and to the fingerprint of its content.

The one place that knows which kinds of source there are. Imports neither torch nor datasets.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b, file_digest
from pathlib import Path

from data.configuration import DataConfig
from data.errors import DataError
from data.sources.encoded_images import EncodedImages
from data.sources.folder_walk import list_files
from data.sources.image_folder import open_image_folder
from data.sources.synthetic import SYNTHETIC_RECIPE, build_synthetic
from data.sources.table_folders import find_tables
from data.sources.tables import hub_revision, open_tables

SYNTHETIC = "synthetic"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def fingerprint_source(config: DataConfig) -> str:
    """Identifies the content of the source, without opening any image.

    A folder by the names and bytes of its files, a hub id by its revision, the embedded data set
    by the recipe that draws it.

    Raises:
        DataError: there is no such source.
    """
    if config.source == SYNTHETIC:
        return SYNTHETIC_RECIPE
    folder = _local_folder(config.source)
    if folder is None:
        return hub_revision(config.source, configuration=config.configuration)
    return _fingerprint_folder(folder)


def open_source(config: DataConfig, *, scratch: Path) -> EncodedImages:
    """Opens the configured source.

    Args:
        config: names the source and its columns.
        scratch: an existing folder for temporary copies, which must outlive the result.

    Raises:
        DataError: the source cannot be used as configured.
    """
    is_synthetic = config.source == SYNTHETIC
    folder = build_synthetic(config.cache) if is_synthetic else _local_folder(config.source)
    if folder is None:
        return open_tables(config.source, config)
    if tables := find_tables(folder, config):
        return tables.open(scratch=scratch)
    return open_image_folder(folder)


def _local_folder(source: str) -> Path | None:
    """The source's folder, or none for a hub id."""
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
    if not HUB_ID.fullmatch(source):
        raise DataError(
            f"data.source must be an existing folder, a hub id (owner/name) or {SYNTHETIC}: path "
            f"'{source}' does not exist and is not a hub id; correct it"
        )
    return None


def _fingerprint_folder(folder: Path) -> str:
    paths = list_files(folder)
    with ThreadPoolExecutor() as threads:
        digests = threads.map(_digest, paths)
        total = blake2b(digest_size=16)
        for path, digest in zip(paths, digests, strict=True):
            name = os.fsencode(path.relative_to(folder))
            total.update(len(name).to_bytes(8) + name + digest)
    return total.hexdigest()


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file_digest(file, lambda: blake2b(digest_size=16)).digest()
    except OSError as error:
        raise DataError(
            f"data.source: file '{path}' cannot be read ({error.strerror}); restore or remove it"
        ) from error
