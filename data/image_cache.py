"""Images decoded once into uint8 files, keyed by content; the entry of this room.

Training reads them memory-mapped, any number of processes at once. Must not import torch, nor
datasets itself: opening a finished entry is cheap.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.built_folder import Check, build_once
from data.cache_building import (
    DESCRIPTION_FILE,
    NAMES_FILE,
    build_entry,
    images_name,
    labels_name,
)
from data.configuration import DataConfig
from data.errors import DamagedFolderError, DataError
from data.file_digests import CheckedFile, check_sizes
from data.sources.opening import Source, inspect_source
from data.split_writer import Track, no_progress
from data.splits import CONFIRMATION, TEST, TRAIN, VALIDATION
from data.statistics import DataDescription

logger = logging.getLogger(__name__)

CONTENT_FORMAT = 2
"""Raised when equal settings would give other images: a part of the fingerprint."""
CACHE_FORMAT = 6
"""Raised when the files of an entry change: a part of its name, so that older ones stay alone."""


def _nothing_to_check() -> None:
    """Stands for the check of images that lie in memory."""


@dataclass(frozen=True)
class Examples:
    """Images and their classes; copy-on-write mapped, so no write ever reaches the cache.

    `check` raises DamagedFolderError where the mapped file has changed since it was opened.
    """

    images_NHWC: NDArray[np.uint8]
    labels_N: NDArray[np.int64]
    check: Callable[[], None] = _nothing_to_check


@dataclass(frozen=True)
class PreparedData:
    """A finished cache entry.

    Only `test()` opens the files of the test split, and only `confirmation()` those of the
    confirmation images; `picture()` opens any split.

    A split is checked when it is opened. Where it is damaged or missing, the entry is built again
    if `config` says from what.
    """

    folder: Path
    description: DataDescription
    config: DataConfig | None = None

    @property
    def fingerprint(self) -> str:
        """Identifies the content: source, columns, splits, subset and image size."""
        return self.description.fingerprint

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return self.description.class_names

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.description.class_names)

    @property
    def mean(self) -> tuple[float, float, float]:
        """Channel means of the training split, on the scale [0, 1]."""
        return self.description.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """Channel standard deviations of the training split, on the scale [0, 1]."""
        return self.description.std

    def train(self) -> Examples:
        """Opens the training split."""
        return self._open(TRAIN)

    def validation(self) -> Examples:
        """Opens the validation split."""
        return self._open(VALIDATION)

    def confirmation(self) -> Examples | None:
        """Opens the confirmation images, which judge the winner; None where there are none."""
        return self._open(CONFIRMATION) if CONFIRMATION in self.description.counts else None

    def test(self) -> Examples:
        """Opens the test split."""
        return self._open(TEST)

    def test_names(self) -> list[str]:
        """Reads what the source calls each image of the test split, in its order."""
        names: list[str] = json.loads(CheckedFile(self.folder, NAMES_FILE).read())
        return names

    def picture(self, split: str, position: int) -> NDArray[np.uint8]:
        """Reads one image, (H, W, 3), of any split, for people to look at."""
        return np.array(self._open(split).images_NHWC[position])

    def _open(self, split: str) -> Examples:
        opened = partial(_open_split, split=split, size=self.description.image_size)
        try:
            return opened(self.folder)
        except DamagedFolderError as damage:
            if self.config is None:
                raise
            _build_again(self.config, self.fingerprint, damage, check=opened)
            return opened(self.folder)


def prepare(config: DataConfig, *, track: Track = no_progress) -> PreparedData:
    """Opens the configured images, decoding them first where no earlier call did.

    Several processes may call this at once: one builds, the others wait. A build that is cut off
    leaves nothing that could be mistaken for a finished one.

    Args:
        config: which images, and how they are split.
        track: shows the progress of the decoding.

    Raises:
        DataError: the data cannot be used as configured, or the cache cannot be written.
        BrokenImageError: an image cannot be decoded and `broken_images` is "stop".
    """
    source = inspect_source(config)
    folder = _build_entry(config, _fingerprint(config, source), track=track, check=_check_entry)
    # Whoever built the entry may have found the same content elsewhere, beside other files.
    described = _read_description(folder)
    left_out = described.left_out + source.left_out
    described = described.model_copy(update={"source": config.source, "left_out": left_out})
    return PreparedData(folder, described, config)


def find_prepared(cache: Path, fingerprint: str) -> PreparedData | None:
    """Opens images that an earlier call of `prepare` decoded, None where they cannot be had.

    That is where they are not whole, or closed to this user, or on a disk that is away; a warning
    says so. Neither needs the source nor decodes anything.

    Args:
        cache: the folder that keeps the decoded images.
        fingerprint: of the data.
    """
    folder = _entry(cache, fingerprint)
    try:
        if not folder.is_dir():
            return None
        prepared = PreparedData(folder, _read_description(folder))
        prepared.train()
    except DataError as error:
        logger.warning("%s: left out", error)
        return None
    except PermissionError as error:
        logger.warning("data.cache: %s cannot be read (%s): left out", folder, error.strerror)
        return None
    return prepared


def _entry(cache: Path, fingerprint: str) -> Path:
    return cache / f"images-{CACHE_FORMAT}-{fingerprint}"


def _fingerprint(config: DataConfig, source: Source) -> str:
    key = config.model_dump(mode="json", exclude={"source", "cache", "label_file"})
    # Without confirmation images the data are those of the versions before there were any.
    if config.confirm_fraction == 0:
        del key["confirm_fraction"]
    key |= {"format": CONTENT_FORMAT, "content": source.fingerprint}
    return blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=16).hexdigest()


def _build_entry(config: DataConfig, fingerprint: str, *, track: Track, check: Check) -> Path:
    folder = _entry(config.cache, fingerprint)
    build = partial(build_entry, config=config, fingerprint=fingerprint, track=track)
    build_once(folder, build, check=check)
    return folder


def _build_again(
    config: DataConfig, fingerprint: str, damage: DamagedFolderError, *, check: Check
) -> None:
    try:
        if _fingerprint(config, inspect_source(config)) != fingerprint:
            raise DataError(f"data.source: '{config.source}' has changed since; restore it")
        _build_entry(config, fingerprint, track=no_progress, check=check)
    except DataError as error:
        raise DataError(f"{damage}, and cannot be built again: {error}") from error


def _open_split(folder: Path, *, split: str, size: int) -> Examples:
    labels_N = np.load(BytesIO(CheckedFile(folder, labels_name(split)).read()))
    images = CheckedFile(folder, images_name(split))
    shape = (len(labels_N), size, size, 3)
    images_NHWC = np.memmap(images.file, np.uint8, mode="c", shape=shape)
    return Examples(images_NHWC, labels_N, images.check)


def _check_entry(folder: Path) -> None:
    check_sizes(folder)
    _read_description(folder)


def _read_description(folder: Path) -> DataDescription:
    return DataDescription.model_validate_json(CheckedFile(folder, DESCRIPTION_FILE).read())
