"""Folders as people bring them, made of empty files: pictures are found without being opened."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from data.configuration import DataConfig
from data.errors import DataError
from data.sources.encoded_images import EncodedImages
from data.sources.image_folder import PictureFolder, find_pictures


def touch(folder: Path, *names: str) -> Path:
    """Make empty files, and the folders they lie in."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def classes(split: str, *, names: Iterable[str] = ("ant", "bee")) -> list[str]:
    return [f"{split}/{name}/{n}.png" for name in names for n in range(3)]


def found(folder: Path, **changes: object) -> PictureFolder:
    values = {"source": str(folder), "cache": folder.parent / "cache"} | changes
    return find_pictures(folder, DataConfig.model_validate(values))


def rejection(folder: Path, **changes: object) -> str:
    with pytest.raises(DataError) as caught:
        found(folder, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(images: EncodedImages) -> dict[str, str]:
    return {split: images.splits[split].name for split in images.splits}


def counts(images: EncodedImages) -> dict[str, dict[str, int]]:
    """Images of each class, by split."""
    return {
        split: {
            name: int((encoded.labels_N == label).sum())
            for label, name in enumerate(images.class_names)
        }
        for split, encoded in images.splits.items()
    }


def left_out(images: EncodedImages) -> dict[tuple[str | None, str], int]:
    return {(item.split, item.reason): item.count for item in images.left_out}
