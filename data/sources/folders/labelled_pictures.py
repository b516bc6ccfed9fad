"""The pictures that files of labels name, each with its split and class.

Only pictures of the source are found, whatever paths the files hold. Must not read the files.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import splitext

from data.configuration import DataConfig
from data.errors import DataError
from data.sources.folder_walk import Folder, readable
from data.sources.folders.label_file import LabelFile, LabelRow
from data.sources.split_names import match_splits
from data.splits import SPLITS, TRAIN

MINUS_ONE = "-1"
OUTSIDE = "images outside the splits"


@dataclass
class Labelled:
    """The pictures of each split with their classes; `files` are those that say so."""

    class_names: tuple[str, ...]
    paths: dict[str, list[str]]
    labels: dict[str, list[int]]
    names: dict[str, str] = field(default_factory=dict)
    """What the source calls the splits, where not as their folders."""
    files: tuple[str, ...] = ()
    unused: dict[str, str] = field(default_factory=dict)
    """Pictures that are named and not used, and why."""


def read_labelled(
    label_files: Sequence[LabelFile],
    root: Folder,
    split_folders: Mapping[str, Folder],
    config: DataConfig,
) -> Labelled:
    """Find every picture that the files name, its split and its class.

    A picture is of the split that the file says, else of the split whose folder it lies in.

    Raises:
        DataError: A named picture is missing, named with two classes, or not clear; a class is
            not in train.
    """
    rows = [row for file in label_files for row in file.rows()]
    splits = _match_values(label_files[0], rows, config)
    finder = _Finder(root, split_folders)
    found: dict[str, LabelRow] = {}
    for row in rows:
        path = finder.find(row)
        _reject_contradiction(found.setdefault(path, row), row)
    unlabelled = _unlabelled(row.label for row in rows)
    unused: dict[str, str] = {}
    by_split: dict[str, list[tuple[str, LabelRow]]] = {split: [] for split in SPLITS}
    for path in sorted(found):
        row = found[path]
        split = splits.get(row.split) if splits else finder.split_of(path)
        if row.label in unlabelled:
            unused[path] = f"images without a class in {row.source.name}"
        elif split is None:
            unused[path] = OUTSIDE
        else:
            by_split[split].append((path, row))
    class_names = _class_names([row for _, row in by_split[TRAIN]], label_files[0])
    label_of = {name: label for label, name in enumerate(class_names)}
    return Labelled(
        class_names=class_names,
        paths={split: [path for path, _ in pairs] for split, pairs in by_split.items()},
        labels={
            split: [_label(row, label_of) for _, row in pairs] for split, pairs in by_split.items()
        },
        names=_name_splits(label_files[0], splits, is_whole=split_folders[TRAIN] is root),
        files=tuple(file.path for file in label_files),
        unused=unused,
    )


def _reject_contradiction(first: LabelRow, row: LabelRow) -> None:
    """Reject a row that gives an image another class or split than an earlier one."""
    for what, before, now in (
        ("class", first.label, row.label),
        ("split", first.split, row.split),
    ):
        if before != now:
            raise DataError(
                f"data.label_file: '{row.source.name}' must name one {what} for each image, "
                f"'{readable(row.file)}' has '{readable(before)}' in line {first.line} and "
                f"'{readable(now)}' in line {row.line}; remove one"
            )


def _name_splits(file: LabelFile, splits: Mapping[str, str], *, is_whole: bool) -> dict[str, str]:
    if splits:
        return {split: f"{file.name}: {readable(value)}" for value, split in splits.items()}
    return {TRAIN: file.name} if is_whole else {}


class _Finder:
    """Finds the one picture of the source that a row means, by its path, name or stem."""

    def __init__(self, root: Folder, split_folders: Mapping[str, Folder]) -> None:
        self._root = os.path.abspath(root.path)
        self._folders = {split: f"{folder.path}/" for split, folder in split_folders.items()}
        self._paths = {self._root + path[len(root.path) :]: path for path in root.used_below()}
        self._by_name: dict[str, list[str]] = {}
        for path in self._paths.values():
            name = os.path.basename(path)
            for key in {name, splitext(name)[0]}:
                self._by_name.setdefault(key, []).append(path)

    def find(self, row: LabelRow) -> str:
        """Return the path of the picture.

        Raises:
            DataError: There is none, or more than one.
        """
        name = os.path.normpath(row.file.replace("\\", "/"))
        for base in (row.source.folder, self._root):
            inside = os.path.normpath(os.path.join(base, name))
            if (path := self._paths.get(inside)) is not None:
                return path
        split = self._folders.get(row.source.split or "", "")
        found = [
            path
            for path in self._by_name.get(os.path.basename(name), ())
            if path.startswith(split)
            and (path.endswith(f"/{name}") or splitext(path)[0].endswith(f"/{name}"))
        ]
        beside = [
            path for path in found if os.path.abspath(path).startswith(f"{row.source.folder}/")
        ]
        found = beside if len(beside) == 1 else found
        if len(found) != 1:
            raise _rejection(row, sorted(found))
        return found[0]

    def split_of(self, path: str) -> str | None:
        """Return the split in whose folder a picture lies."""
        for split, folder in self._folders.items():
            if path.startswith(folder):
                return split
        return None


def _rejection(row: LabelRow, found: list[str]) -> DataError:
    said = (
        f"{readable(found[0])} and {readable(found[1])} are meant by it; write more of the path"
        if found
        else "there is none; restore it, remove the row, or point --data to the images"
    )
    return DataError(
        f"data.label_file: every row of '{row.source.name}' must name one image of data.source, "
        f"'{readable(row.file)}' in line {row.line}: {said}"
    )


def _match_values(file: LabelFile, rows: Iterable[LabelRow], config: DataConfig) -> dict[str, str]:
    """The split that each value of the column of splits means; empty without such a column."""
    if file.split_column is None:
        return {}
    values = dict.fromkeys(row.split for row in rows)
    named = match_splits(values, source=file.name, chosen=config.splits)
    unknown = values.keys() - named.values()
    if unknown and config.splits is None:
        raise DataError(
            f"data.label_file: column '{file.split_column}' of '{file.name}' must hold splits, "
            f"'{readable(sorted(unknown)[0])}' is none; name the splits to use with data.splits"
        )
    return {value: split for split, value in named.items()}


def _class_names(rows: Sequence[LabelRow], file: LabelFile) -> tuple[str, ...]:
    if not rows:
        raise DataError(
            f"data.label_file: '{file.name}' must name images of train with their classes, it "
            "names none; add some or name another file"
        )
    names = {row.label for row in rows}
    for name in names:
        if name != readable(name):
            raise DataError(
                f"data.label_file: classes of '{file.name}' must have names in UTF-8, "
                f"'{readable(name)}' has not; save the file as UTF-8"
            )
    return tuple(sorted(names, key=_by_number if all(map(_is_number, names)) else None))


def _unlabelled(labels: Iterable[str]) -> frozenset[str]:
    """Return the labels that mean none: as in tables, -1 among other whole numbers is one."""
    distinct = set(labels) - {""}
    is_missing = MINUS_ONE in distinct and len(distinct) != 2
    are_whole = all(label.removeprefix("-").isdecimal() for label in distinct)
    return frozenset(("", MINUS_ONE) if is_missing and are_whole else ("",))


def _is_number(name: str) -> bool:
    """Whether it can be ordered among numbers, which `nan` cannot."""
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False


def _by_number(name: str) -> tuple[float, str]:
    return float(name), name


def _label(row: LabelRow, label_of: Mapping[str, int]) -> int:
    if row.label not in label_of:
        raise DataError(
            f"data.label_file: every class of '{row.source.name}' must have an image in train, "
            f"'{readable(row.label)}' in line {row.line} has none; add one or remove the row"
        )
    return label_of[row.label]
