"""Class folders of picture files, optionally below train, validation (valid, val) and test.

Must not decode anything: a file counts as a picture by its ending.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.sources.encoded_images import EncodedImage, EncodedImages, EncodedSplit, match_splits
from data.sources.folder_walk import list_files
from data.splits import TRAIN

PICTURE_ENDINGS = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


def open_image_folder(folder: Path) -> EncodedImages:
    """Lists the pictures of a tree of class folders.

    Raises:
        DataError: there are no pictures, a class folder is empty, or a class is not in train.
    """
    split_folders = {TRAIN: folder}
    # A class may be called train: then pictures lie right inside, not in folders.
    if (folder / TRAIN).is_dir() and _subfolders(folder / TRAIN):
        names = match_splits((path.name for path in _subfolders(folder)), source=str(folder))
        split_folders = {split: folder / name for split, name in names.items()}
    class_names = tuple(path.name for path in _subfolders(split_folders[TRAIN]))
    if not class_names:
        raise DataError(
            f"data.source: '{folder}' must hold data/*.parquet or one folder of images for each "
            "class, it has no images in class folders; point to the folder above the classes"
        )
    for name in class_names:
        if name != _readable(name):
            raise DataError(
                f"data.source: class folder '{_readable(name)}' of '{folder}' must have a name in "
                "UTF-8; rename it"
            )
    return EncodedImages(
        class_names,
        {split: _list_split(path, class_names) for split, path in split_folders.items()},
    )


def _list_split(folder: Path, class_names: tuple[str, ...]) -> EncodedSplit:
    # Pictures outside class folders are unlabelled.
    paths = [path for path in sorted(folder.iterdir()) if _is_picture(path)]
    labels = [-1] * len(paths)
    for class_folder in _subfolders(folder):
        if class_folder.name not in class_names:
            raise DataError(
                f"data.source: every class must have a folder in train, '{class_folder}' has "
                "none; add it or move this folder away"
            )
        pictures = [path for path in list_files(class_folder) if _is_picture(path)]
        if not pictures:
            raise DataError(
                f"data.source: class folder '{class_folder}' must hold images "
                f"({' '.join(sorted(PICTURE_ENDINGS))}), it is empty; add some or remove it"
            )
        paths += pictures
        labels += [class_names.index(class_folder.name)] * len(pictures)

    def read(rows_N: NDArray[np.int64]) -> list[EncodedImage]:
        return [EncodedImage(_readable(paths[row]), paths[row]) for row in rows_N]

    return EncodedSplit(np.array(labels, dtype=np.int64), read, folder.name)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_ENDINGS and not path.name.startswith(".")


def _readable(path: Path | str) -> str:
    """The path for messages and records, which hold nothing but UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")
