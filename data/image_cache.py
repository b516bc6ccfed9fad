"""Images decoded once into uint8 files, keyed by content; the entry of this room.

Training reads them memory-mapped, any number of processes at once. Must not import torch, nor
datasets itself: opening a finished entry is cheap.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.built_folder import Check, build_once, require_free_space
from data.configuration import DataConfig
from data.duplicates import count_duplicates
from data.errors import DamagedFolderError, DataError
from data.file_digests import CheckedFile, check_sizes
from data.group_rights import make_folders
from data.sources.encoded_images import EncodedImages, LeftOut
from data.sources.opening import Source, inspect_source, open_source
from data.split_writer import (
    Track,
    no_progress,
    require_files,
    require_whole_images,
    write_split,
)
from data.splits import SPLITS, TEST, TRAIN, VALIDATION, SplitRows, choose_rows
from data.statistics import (
    HELD_OUT,
    MOST_DUPLICATE_GROUPS,
    DataDescription,
    DuplicateCopy,
    DuplicateExample,
    Duplicates,
    SplitTally,
)

logger = logging.getLogger(__name__)

DESCRIPTION_FILE = "description.json"
CONTENT_FORMAT = 2
"""Raised when equal settings would give other images: a part of the fingerprint."""
CACHE_FORMAT = 5
"""Raised when the files of an entry change: a part of its name, so that older ones stay alone."""
MOST_EXAMPLES = 5


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
    """A finished cache entry. Only `test()` opens the files of the test split.

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

    def test(self) -> Examples:
        """Opens the test split."""
        return self._open(TEST)

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
    key |= {"format": CONTENT_FORMAT, "content": source.fingerprint}
    return blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=16).hexdigest()


def _build_entry(config: DataConfig, fingerprint: str, *, track: Track, check: Check) -> Path:
    folder = _entry(config.cache, fingerprint)
    build = partial(_build, config=config, fingerprint=fingerprint, track=track)
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
    labels_N = np.load(BytesIO(CheckedFile(folder, _labels_name(split)).read()))
    images = CheckedFile(folder, _images_name(split))
    shape = (len(labels_N), size, size, 3)
    images_NHWC = np.memmap(images.file, np.uint8, mode="c", shape=shape)
    return Examples(images_NHWC, labels_N, images.check)


def _check_entry(folder: Path) -> None:
    check_sizes(folder)
    _read_description(folder)


def _read_description(folder: Path) -> DataDescription:
    return DataDescription.model_validate_json(CheckedFile(folder, DESCRIPTION_FILE).read())


def _build(folder: Path, *, config: DataConfig, fingerprint: str, track: Track) -> None:
    scratch = folder / "scratch"
    make_folders(scratch)
    encoded = open_source(config, scratch=scratch)
    class_names = _used_classes(encoded.class_names, config)
    labels = {split: images.labels_N for split, images in encoded.splits.items()}
    rows = choose_rows(labels, class_names, config=config)
    n_images = sum(len(split.rows_N) for split in rows.values())
    require_free_space(folder, n_bytes=n_images * (3 * config.image_size**2 + 8))
    require_files(encoded.splits, rows.values(), config=config)
    tallies = {}
    for split in SPLITS:
        source = encoded.splits[rows[split].source_split]
        path = folder / _images_name(split)
        tallies[split] = write_split(source, rows[split], path=path, config=config, track=track)
        np.save(folder / _labels_name(split), tallies[split].labels_N)
    require_whole_images(tallies.values(), config=config)
    _require_every_class(tallies, class_names)
    described = DataDescription.of(
        tallies,
        config=config,
        fingerprint=fingerprint,
        class_names=class_names,
        origins=_origins(encoded, rows, config),
        left_out=encoded.left_out,
        left_out_by_settings=_left_out_by_settings(encoded, rows, class_names, config),
        duplicates=_find_duplicates(tallies, encoded, rows),
    )
    described.save(folder / DESCRIPTION_FILE)
    shutil.rmtree(scratch)


def _used_classes(class_names: tuple[str, ...], config: DataConfig) -> tuple[str, ...]:
    n_classes = config.n_classes or len(class_names)
    if n_classes > len(class_names):
        raise DataError(
            f"data.n_classes must be at most {len(class_names)}, the classes of the source, got "
            f"{n_classes}; lower it"
        )
    if n_classes < 2:
        raise DataError(
            f"data.source: '{config.source}' must have at least 2 classes, it has {n_classes} "
            f"({', '.join(class_names)}); choose another source or label_column"
        )
    return class_names[:n_classes]


def _origins(
    encoded: EncodedImages, rows: Mapping[str, SplitRows], config: DataConfig
) -> dict[str, str]:
    held_out = {VALIDATION: config.validation_fraction, TEST: config.test_fraction}
    return {
        split: (
            encoded.splits[split].name
            if (used := rows[split].source_split) == split
            else f"{100 * held_out[split]:g}% {HELD_OUT} {encoded.splits[used].name}"
        )
        for split in SPLITS
    }


def _left_out_by_settings(
    encoded: EncodedImages,
    rows: Mapping[str, SplitRows],
    class_names: tuple[str, ...],
    config: DataConfig,
) -> tuple[LeftOut, ...]:
    """Labelled rows of the source that the settings leave out."""
    return (
        *_unused_classes(encoded, class_names),
        *_beyond_limits(encoded, rows, len(class_names), config),
    )


def _unused_classes(encoded: EncodedImages, class_names: tuple[str, ...]) -> Iterator[LeftOut]:
    n_classes, n_all = len(class_names), len(encoded.class_names)
    unused = encoded.class_names[n_classes:]
    if unused:
        named = ", ".join(unused[:MOST_EXAMPLES]) + (", ..." if unused[MOST_EXAMPLES:] else "")
        yield LeftOut(
            split=None,
            reason=(
                f"images of {len(unused):,} of the {n_all:,} classes ({named}), for "
                f"data.n_classes={n_classes}; data.n_classes=none uses all"
            ),
            count=sum(
                int((split.labels_N >= n_classes).sum()) for split in encoded.splits.values()
            ),
        )


def _beyond_limits(
    encoded: EncodedImages, rows: Mapping[str, SplitRows], n_classes: int, config: DataConfig
) -> Iterator[LeftOut]:
    limits = {split: getattr(config, f"{split}_limit") for split in SPLITS}
    for name, split in encoded.splits.items():
        taken = [part for part in rows if rows[part].source_split == name]
        n_usable = int(((split.labels_N >= 0) & (split.labels_N < n_classes)).sum())
        count = n_usable - sum(len(rows[part].rows_N) for part in taken)
        if count:
            set_limits = [f"data.{part}_limit={limits[part]}" for part in taken if limits[part]]
            yield LeftOut(split=split.name, reason=f"beyond {', '.join(set_limits)}", count=count)


def _require_every_class(tallies: Mapping[str, SplitTally], class_names: tuple[str, ...]) -> None:
    """Every class in train, and any image at all in each split, once broken ones are dropped."""
    train = tallies[TRAIN]
    missing = np.flatnonzero(np.bincount(train.labels_N, minlength=len(class_names)) == 0)
    if len(missing):
        raise DataError(
            f"data.source: every class must have an image in train, '{class_names[missing[0]]}' "
            f"has none ({train.n_dropped} images dropped); add some, raise data.train_limit or "
            "lower data.n_classes"
        )
    for split, tally in tallies.items():
        if not len(tally.labels_N):
            raise DataError(
                f"data.source: {split} must have an image, it has none ({tally.n_dropped} images "
                "dropped); add some or remove the split"
            )


def _find_duplicates(
    tallies: Mapping[str, SplitTally], encoded: EncodedImages, rows: Mapping[str, SplitRows]
) -> Duplicates:
    counts = count_duplicates(
        {split: tally.digests_N for split, tally in tallies.items()},
        {split: tally.labels_N for split, tally in tallies.items()},
        most_groups=MOST_DUPLICATE_GROUPS,
    )

    def named(split: str, position: int) -> DuplicateCopy:
        source_split = rows[split].source_split
        row = tallies[split].rows_N[[position]]
        return DuplicateCopy(
            split=split,
            position=position,
            label=int(tallies[split].labels_N[position]),
            source_split=source_split,
            name=encoded.splits[source_split].read(row)[0].name,
        )

    return Duplicates.of(
        counts,
        tuple(
            DuplicateExample(
                n_copies=group.n_copies, copies=tuple(named(*copy) for copy in group.copies)
            )
            for group in counts.groups
        ),
    )


def _images_name(split: str) -> str:
    return f"{split}.images"


def _labels_name(split: str) -> str:
    return f"{split}.labels.npy"
