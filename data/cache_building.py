"""What becomes an entry of the image cache: rows are chosen, decoded and described.

Must not know where entries lie, nor whether one is there.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from data.built_folder import require_free_space
from data.configuration import DataConfig
from data.duplicates import count_duplicates
from data.errors import DataError
from data.group_rights import make_folders
from data.sources.encoded_images import EncodedImages, LeftOut
from data.sources.opening import open_source
from data.split_writer import Track, require_files, require_whole_images, write_split
from data.splits import CONFIRMATION, LIMITS, TEST, TRAIN, VALIDATION, SplitRows, choose_rows
from data.statistics import (
    HELD_OUT,
    MOST_DUPLICATE_GROUPS,
    DataDescription,
    DuplicateCopy,
    DuplicateExample,
    Duplicates,
    SplitTally,
)

DESCRIPTION_FILE = "description.json"
NAMES_FILE = f"{TEST}.names.json"
MOST_EXAMPLES = 5


def build_entry(folder: Path, *, config: DataConfig, fingerprint: str, track: Track) -> None:
    """Decodes the configured images into an empty folder.

    Args:
        folder: gets, of each split, the pixels as uint8 NHWC without a header and the labels; of
            the test split the names of its images; and the description of all.
        config: which images, and how they are split.
        fingerprint: identifies the content.
        track: shows the progress of the decoding.

    Raises:
        DataError: the data cannot be used as configured.
        BrokenImageError: an image cannot be decoded and `broken_images` is "stop".
    """
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
    for split in rows:
        source = encoded.splits[rows[split].source_split]
        path = folder / images_name(split)
        tallies[split] = write_split(source, rows[split], path=path, config=config, track=track)
        np.save(folder / labels_name(split), tallies[split].labels_N)
    (folder / NAMES_FILE).write_text(json.dumps(tallies[TEST].names), encoding="utf-8")
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
        lacks_confirmation=config.confirm_fraction is None and CONFIRMATION not in rows,
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
    origins = {
        split: (
            encoded.splits[split].name
            if (used := rows[split].source_split) == split
            else f"{100 * held_out[split]:g}% {HELD_OUT} {encoded.splits[used].name}"
        )
        for split in rows
        if split != CONFIRMATION
    }
    if CONFIRMATION in rows:
        origins[CONFIRMATION] = _origin_of_confirmation(origins, rows, config)
    return origins


def _origin_of_confirmation(
    origins: Mapping[str, str], rows: Mapping[str, SplitRows], config: DataConfig
) -> str:
    if config.confirm_fraction is not None:
        return f"{100 * config.confirm_fraction:g}% {HELD_OUT} {origins[TRAIN]}"
    is_own = rows[VALIDATION].source_split == VALIDATION
    return f"half of {'' if is_own else 'the '}{origins[VALIDATION]}"


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
    for name, split in encoded.splits.items():
        taken = [part for part in rows if rows[part].source_split == name]
        n_usable = int(((split.labels_N >= 0) & (split.labels_N < n_classes)).sum())
        count = n_usable - sum(len(rows[part].rows_N) for part in taken)
        if count:
            named = dict.fromkeys(LIMITS[part] for part in taken)
            set_limits = [
                f"data.{one}={limit}" for one in named if (limit := getattr(config, one))
            ]
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
                f"dropped); add some or {_remedy(split)}"
            )


def _remedy(split: str) -> str:
    return "set data.confirm_fraction=0" if split == CONFIRMATION else "remove the split"


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


def images_name(split: str) -> str:
    """Returns the file of the pixels of a split."""
    return f"{split}.images"


def labels_name(split: str) -> str:
    """Returns the file of the labels of a split."""
    return f"{split}.labels.npy"
