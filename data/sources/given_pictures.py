"""Pictures that a user names: files, folders, and patterns such as `photos/*.jpg`.

Folders are walked as those of a source are. Must not decode anything, nor know a model.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from glob import glob, has_magic
from pathlib import Path

from data.errors import DataError
from data.sources.folder_walk import Folder, neither_file_nor_folder, readable, walk
from data.sources.picture_files import is_picture, others_held

SETTING = "IMAGES"
"""What messages call the names."""


@dataclass(frozen=True)
class GivenPictures:
    """The pictures of one name, in the order of their paths.

    Attributes:
        paths: The files.
        folder: The folder that was named; None where files were.
    """

    paths: tuple[str, ...]
    folder: str | None = None


def find_given_pictures(names: Iterable[str]) -> list[GivenPictures]:
    """Find the pictures of all names, in the order of the names; each picture counts once.

    A file that is named is used whatever it is called; folders and patterns find what is a
    picture by its ending, or by its first bytes where it has none.

    Raises:
        DataError: A name is neither file, folder nor a pattern that matches, holds no picture, or
            cannot be read.
    """
    seen: set[str] = set()
    real = cache(os.path.realpath)
    found = []
    for name in names:
        pictures = _find(name)
        new = []
        for path in pictures.paths:
            folder, file = os.path.split(path)
            if (place := os.path.join(real(folder), file)) not in seen:
                seen.add(place)
                new.append(path)
        found.append(GivenPictures(tuple(new), pictures.folder))
    return found


def label_by_folders(
    given: Sequence[GivenPictures], class_names: Sequence[str], *, any_folder: bool = False
) -> tuple[list[int], list[str]]:
    """Say of which class each picture is, by the nearest folder that is called like a class.

    Args:
        given: The pictures.
        class_names: In label order.
        any_folder: Whether the folder may be, or lie above, the one that was named.

    Returns:
        The label of each picture, -1 where none of its folders is called like a class, and the
        folders that hold those, each once.
    """
    label_of = {name: label for label, name in enumerate(class_names)}
    labels: list[int] = []
    unknown: dict[str, None] = {}
    known: dict[str, int] = {}
    for pictures in given:
        for path in pictures.paths:
            folder = os.path.dirname(path)
            if folder not in known:
                inside = os.path.abspath(folder) if any_folder else _below(folder, pictures.folder)
                known[folder] = _nearest_label(inside, label_of)
            labels.append(known[folder])
            if known[folder] < 0:
                unknown[folder or os.curdir] = None
        known.clear()  # the next one may have been named by another folder
    return labels, list(unknown)


def _below(folder: str, named: str | None) -> str:
    return "" if named is None else os.path.relpath(folder, named)


def _nearest_label(folder: str, label_of: dict[str, int]) -> int:
    labels = (label_of.get(name, -1) for name in reversed(folder.split(os.sep)))
    return next((label for label in labels if label >= 0), -1)


def _find(name: str) -> GivenPictures:
    if not name:
        raise DataError(f"{SETTING} must be named, one name is empty; name files or folders")
    path = str(Path(name))
    if os.path.isdir(path):
        return GivenPictures(tuple(_list(path)), path)
    if os.path.isfile(path):
        return GivenPictures((path,))
    if os.path.lexists(path):
        raise neither_file_nor_folder(path, SETTING)
    if has_magic(name):
        return GivenPictures(tuple(_match(name)))
    raise DataError(f"{SETTING} must exist, '{readable(name)}' does not; correct the path")


def _walk(folder: str) -> Folder:
    return walk(Path(folder), is_used=partial(is_picture, setting=SETTING), setting=SETTING)


def _list(folder: str) -> list[str]:
    root = _walk(folder)
    if not root.n_used:
        raise DataError(
            f"{SETTING} must hold pictures, folder '{readable(folder)}' has none"
            f"{others_held(root)}; name another one"
        )
    return _in_order(root)


def _match(pattern: str) -> Iterator[str]:
    matches = sorted({str(Path(path)) for path in glob(pattern, recursive=True)}, key=_parts)
    n_found = 0
    for path in matches:
        for picture in _pictures_at(path):
            n_found += 1
            yield picture
    if not n_found:
        others = "1 other file" if len(matches) == 1 else f"{len(matches):,} others"
        matched = f"it matches {others}" if matches else "nothing matches it"
        raise DataError(
            f"{SETTING} must match pictures, '{readable(pattern)}' matches none ({matched}); "
            "correct the pattern"
        )


def _pictures_at(path: str) -> list[str]:
    if os.path.isdir(path):
        return _in_order(_walk(path))
    if not os.path.isfile(path):
        raise neither_file_nor_folder(path, SETTING)
    folder, name = os.path.split(path)
    return [path] if is_picture(folder or os.curdir, name, setting=SETTING) else []


def _in_order(root: Folder) -> list[str]:
    return sorted((str(Path(path)) for path in root.used_below()), key=_parts)


def _parts(path: str) -> list[str]:
    return path.split(os.sep)
