"""Folders as people bring them, made of empty files: pictures are found without being opened."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data.configuration import DataConfig
from data.errors import DataError
from data.sources import file_index
from data.sources.encoded_images import EncodedImages
from data.sources.folders.image_folder import PictureFolder, find_pictures


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


def let_times_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time of an inode's change be that of its content, which a test can set."""
    read_facts = file_index._read_facts

    def read(folder: Path, names: Sequence[str]) -> NDArray[np.int64]:
        facts_N4 = read_facts(folder, names)
        facts_N4[:, file_index.CHANGED] = facts_N4[:, file_index.MODIFIED]
        return facts_N4

    monkeypatch.setattr(file_index, "_read_facts", read)


def left_out(images: EncodedImages) -> dict[tuple[str | None, str], int]:
    return {(item.split, item.reason): item.count for item in images.left_out}
