"""Tar shards in the layout of WebDataset: the files of one sample share the name before a dot.

Every shard is read once from front to back; pictures are later read by their offset, so that
nothing is extracted. Must not decode pictures.
"""

import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from data.configuration import DataConfig
from data.errors import DataError
from data.sources.encoded_images import EncodedImage, EncodedImages, EncodedSplit, LeftOut
from data.sources.labels import N_EXAMPLES, StoredLabels, encode_labels, find_unlabelled
from data.sources.tables.columns import LABEL_NAMES
from data.sources.tables.table_files import reading
from data.splits import TRAIN

JSON = "json"
LABEL_FILES = ("cls", JSON, "txt")
"""What may hold the class of a sample; the first of them that train has does."""


class Member(NamedTuple):
    """A picture in a shard."""

    name: str
    shard: Path
    offset: int
    size: int


class Sample(NamedTuple):
    """The pictures of a sample by their endings, and the text of what may be its class."""

    key: str
    shard: Path
    pictures: dict[str, Member]
    texts: dict[str, str]


def open_shards(
    splits: Mapping[str, tuple[str, Sequence[Path]]],
    config: DataConfig,
) -> EncodedImages:
    """Lists the samples of tar shards.

    Args:
        splits: the source's own name and the shards of train, and of validation and test.
        config: names the endings of picture and class, where they are not to be found.

    Raises:
        DataError: a shard is not whole, or its samples have no pictures or no classes.
    """
    left_out: tuple[LeftOut, ...] = ()
    members: dict[str, list[Member]] = {}
    samples = {
        split: [sample for shard in shards for sample in _read_shard(shard, config.label_column)]
        for split, (_, shards) in splits.items()
    }
    for split, (name, _) in splits.items():
        with_pictures = [sample for sample in samples[split] if sample.pictures]
        left_out += _find_without_pictures(name, samples[split])
        samples[split] = with_pictures
        members[split] = [_choose_picture(s, config.image_column) for s in with_pictures]
    column = _choose_label(samples[TRAIN], splits[TRAIN][1], config.label_column)
    texts = {
        split: [_read_label(sample, column) for sample in found]
        for split, found in samples.items()
    }
    stored = _store(texts, column)
    class_names, labels = encode_labels(
        {
            split: [StoredLabels(f"shards of split {splits[split][0]}", len(values), values)]
            for split, values in stored.items()
        },
        column=column,
    )
    for split, (name, _) in splits.items():
        left_out += find_unlabelled(name, labels[split])
    return EncodedImages(
        class_names,
        {
            split: EncodedSplit(labels[split], partial(_read, members[split]), name)
            for split, (name, _) in splits.items()
        },
        left_out,
    )


def _read_shard(shard: Path, label: str | None) -> list[Sample]:
    endings = _list_picture_endings()
    samples: dict[str, Sample] = {}
    with reading(shard), tarfile.open(shard, "r:") as archive:
        for member in _list_members(archive, shard):
            folder, _, name = member.name.rpartition("/")
            stem, _, ending = name.partition(".")
            key, ending = f"{folder}/{stem}".lstrip("/"), ending.lower()
            sample = samples.setdefault(key, Sample(_show(key), shard, {}, {}))
            if ending in sample.pictures or ending in sample.texts:
                raise DataError(
                    f"data.source: every file of '{shard}' must have another name, it has "
                    f"'{_show(member.name)}' twice; write the shard again"
                )
            if ending.rpartition(".")[2] in endings:
                sample.pictures[ending] = Member(
                    _show(f"{shard.name}/{member.name}"), shard, member.offset_data, member.size
                )
            elif ending in LABEL_FILES or ending == label:
                content = archive.extractfile(member)
                assert content is not None  # of a regular file there is always one
                sample.texts[ending] = content.read().decode()
    return list(samples.values())


def _list_members(archive: tarfile.TarFile, shard: Path) -> Iterator[tarfile.TarInfo]:
    """The regular files that are not hidden, all of them whole."""
    end, n_bytes = 0, shard.stat().st_size
    while member := archive.next():
        archive.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
        end = member.offset_data
        if member.islnk() or member.issym():
            raise DataError(
                f"data.source: '{shard}' must hold files, '{_show(member.name)}' is a link "
                "to one; write the shard with `tar --hard-dereference --dereference`"
            )
        if not member.isreg():
            continue
        end += -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        if end > n_bytes:
            raise tarfile.ReadError(f"it ends inside {member.name}")
        if not any(part.startswith(".") for part in member.name.removeprefix("./").split("/")):
            yield member
    # `next` takes a damaged header for the end, which is a block of zeros.
    archive.fileobj.seek(end)
    if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"it is damaged at byte {end}")


def _show(name: str) -> str:
    """The name for messages and records, which hold nothing but UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _list_picture_endings() -> frozenset[str]:
    Image.init()
    return frozenset(ending[1:] for ending, kind in Image.EXTENSION.items() if kind in Image.OPEN)


def _find_without_pictures(split: str, samples: Sequence[Sample]) -> tuple[LeftOut, ...]:
    keys = [sample.key for sample in samples if not sample.pictures]
    if not keys:
        return ()
    examples = tuple(keys[:N_EXAMPLES])
    return (
        LeftOut(
            split=split, reason="samples without a picture", count=len(keys), examples=examples
        ),
    )


def _choose_picture(sample: Sample, configured: str | None) -> Member:
    if configured is None and len(sample.pictures) == 1:
        return next(iter(sample.pictures.values()))
    if configured in sample.pictures:
        return sample.pictures[configured]
    raise DataError(
        f"data.image_column must be the ending of one picture in every sample, got "
        f"{configured or 'none'}; '{sample.key}' of '{sample.shard}' has "
        f"{', '.join(sample.pictures)}"
    )


def _choose_label(
    samples: Sequence[Sample], shards: Sequence[Path], configured: str | None
) -> str:
    """An ending, or a key of the JSON files."""
    present = {ending for sample in samples for ending in sample.texts}
    keys = list(_read_json(next(s for s in samples if JSON in s.texts))) if JSON in present else []
    if configured is not None:
        if configured in present or configured in keys:
            return configured
        raise DataError(
            "data.label_column must be an ending or a key of the JSON files, got "
            f"'{configured}'; '{shards[0]}' has {', '.join([*sorted(present), *keys]) or 'none'}"
        )
    named = [key for key in keys if key in LABEL_NAMES]
    for ending in LABEL_FILES:
        if ending in present and ending != JSON:
            return ending
        if ending in present and len(named) == 1:
            return named[0]
    raise DataError(
        f"data.source: '{shards[0]}' must hold a file .cls, .json or .txt with the class beside "
        f"each picture, it has none with a class (keys: {', '.join(keys) or 'none'}); set "
        "data.label_column, or extract class folders and point to the folder above them"
    )


def _read_json(sample: Sample) -> dict[str, object]:
    try:
        stored = json.loads(sample.texts[JSON])
    except ValueError as error:
        raise _reject_label(sample, f"no JSON ({error})") from error
    if not isinstance(stored, dict):
        raise _reject_label(sample, f"no JSON object ({type(stored).__name__})")
    return stored


def _reject_label(sample: Sample, found: str) -> DataError:
    return DataError(
        f"data.source: '{sample.key}' of '{sample.shard}' must have a readable class, it holds "
        f"{found}; repair or remove it"
    )


def _read_label(sample: Sample, column: str) -> object:
    if column in sample.texts:
        return sample.texts[column].strip() or None
    if JSON in sample.texts:
        return _read_json(sample).get(column)
    return None


def _store(texts: Mapping[str, list[object]], column: str) -> dict[str, pa.Array]:
    """As columns of one type: numbers where all texts are numbers."""
    are_numbers = all(_is_number(value) for values in texts.values() for value in values)
    try:
        if are_numbers:
            texts = {
                split: [None if value is None else int(str(value)) for value in values]
                for split, values in texts.items()
            }
        return {split: pa.array(values) for split, values in texts.items()}
    except (ArithmeticError, TypeError, ValueError) as error:
        raise DataError(
            f"data.label_column '{column}' must hold labels of one type ({error}); write them "
            "alike, or name another one"
        ) from error


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return value.removeprefix("-").isdecimal()
    return value is None or type(value) is int


def _read(members: Sequence[Member], rows_N: NDArray[np.int64]) -> list[EncodedImage]:
    return [_read_member(members[row]) for row in rows_N]


def _read_member(member: Member) -> EncodedImage:
    with member.shard.open("rb") as file:
        file.seek(member.offset)
        return EncodedImage(member.name, file.read(member.size))
