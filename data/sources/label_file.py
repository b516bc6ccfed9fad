"""A CSV file that names pictures and their classes, such as Kaggle's `train.csv`.

Only pictures of the source are found, whatever paths the file holds. Must not decode anything.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os.path import splitext
from typing import NamedTuple

from data.configuration import DataConfig
from data.errors import DataError
from data.sources.folder_walk import Folder, readable
from data.sources.split_names import match_splits, split_of
from data.splits import SPLITS, TRAIN

MORE = "\0"
"""Key of fields beyond the header: no column is called so."""
DEFAULT_NAME = "metadata.csv"
_FILE_COLUMNS = "filename file imagefile imagename imagepath filepath path image imageid img id"
FILE_COLUMNS = tuple(_FILE_COLUMNS.split())
"""Without case, spaces and underscores; the first of them that a file has."""
_LABEL_COLUMNS = "label labels labelname class classname classid category target species breed"
LABEL_COLUMNS = frozenset(_LABEL_COLUMNS.split())
SPLIT_COLUMN = "split"
MINUS_ONE = "-1"
MOST_SHOWN = 200
"""Characters of a header that messages show: a file of another kind may have one line only."""
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


@dataclass(frozen=True)
class LabelFile:
    """A file of labels and the columns that matter; `split` is none where it has no such."""

    path: str
    delimiter: str
    file_column: str
    label_column: str
    split_column: str | None

    @property
    def name(self) -> str:
        """The file's name for messages and records."""
        return readable(os.path.basename(self.path))

    @cached_property
    def folder(self) -> str:
        """The absolute path of the folder it lies in."""
        return os.path.abspath(os.path.dirname(self.path))

    @cached_property
    def split(self) -> str | None:
        """The split that the file's name means, such as train for `train.csv`."""
        return split_of(splitext(self.name)[0])

    def rows(self) -> Iterator[_Row]:
        """Yield every row.

        Raises:
            DataError: A row names no file, or the file is no CSV.
        """
        for line, row in _read_csv(self.path, self.delimiter):
            name = (row.get(self.file_column) or "").strip()
            if not name:
                raise DataError(
                    f"data.label_file: every row of '{readable(self.path)}' must name a file, "
                    f"line {line} names none; add it or remove the row"
                )
            label = (row.get(self.label_column) or "").strip()
            if "\n" in label or "\r" in label:
                raise DataError(
                    f"data.label_file: classes of '{readable(self.path)}' must be in one line, "
                    f"the one before line {line} is not; close its quotes"
                )
            split = (row.get(self.split_column) or "").strip() if self.split_column else ""
            yield _Row(self, line, name, label, split)


class _Row(NamedTuple):
    source: LabelFile
    line: int
    file: str
    label: str
    split: str


def find_label_files(
    root: Folder, folders: Iterable[Folder], config: DataConfig
) -> list[LabelFile]:
    """Find the files that name the classes; none where folders do.

    Args:
        root: The source.
        folders: Where a `metadata.csv` is used without being named, if it has columns of files
            and of classes.
        config: Names the file, relative to the source or to the current folder, and its columns.

    Raises:
        DataError: The named file is missing, or it is not clear which columns are meant.
    """
    if config.label_file is None:
        paths = {f"{f.path}/{DEFAULT_NAME}": None for f in folders if DEFAULT_NAME in f.others}
        found = [_open(path, config, is_named=False) for path in paths]
        return [file for file in found if file is not None]
    below = f"{root.path}/{config.label_file}"
    path = below if os.path.isfile(below) else str(config.label_file.expanduser())
    if not os.path.isfile(path):
        raise DataError(
            f"data.label_file must be a CSV file in data.source or the current folder, "
            f"'{readable(config.label_file)}' is not there; correct it"
        )
    file = _open(path, config, is_named=True)
    return [file] if file is not None else []


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
    found: dict[str, _Row] = {}
    for row in rows:
        path = finder.find(row)
        _reject_contradiction(found.setdefault(path, row), row)
    unlabelled = _unlabelled(row.label for row in rows)
    unused: dict[str, str] = {}
    by_split: dict[str, list[tuple[str, _Row]]] = {split: [] for split in SPLITS}
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


def _reject_contradiction(first: _Row, row: _Row) -> None:
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

    def find(self, row: _Row) -> str:
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


def _rejection(row: _Row, found: list[str]) -> DataError:
    said = (
        f"{readable(found[0])} and {readable(found[1])} are meant by it; write more of the path"
        if found
        else "there is none; restore it, remove the row, or point --data to the images"
    )
    return DataError(
        f"data.label_file: every row of '{row.source.name}' must name one image of data.source, "
        f"'{readable(row.file)}' in line {row.line}: {said}"
    )


def _match_values(file: LabelFile, rows: Iterable[_Row], config: DataConfig) -> dict[str, str]:
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


def _class_names(rows: Sequence[_Row], file: LabelFile) -> tuple[str, ...]:
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


def _label(row: _Row, label_of: Mapping[str, int]) -> int:
    if row.label not in label_of:
        raise DataError(
            f"data.label_file: every class of '{row.source.name}' must have an image in train, "
            f"'{readable(row.label)}' in line {row.line} has none; add one or remove the row"
        )
    return label_of[row.label]


def _open(path: str, config: DataConfig, *, is_named: bool) -> LabelFile | None:
    delimiter, columns = _read_header(path)
    plain = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in reversed(columns)}
    files = [plain[name] for name in FILE_COLUMNS if name in plain]
    file_column = config.image_column or (files[0] if files else None)
    labels = [
        column for name, column in plain.items() if name in LABEL_COLUMNS and column != file_column
    ]
    split_column = plain.get(SPLIT_COLUMN)
    others = [column for column in columns if column not in (file_column, split_column)]
    if is_named and not labels and len(others) == 1:
        labels = others
    label_column = config.label_column or (labels[0] if len(labels) == 1 else None)
    is_meant = is_named or config.image_column is not None or config.label_column is not None
    if not is_meant and not (file_column in columns and label_column in columns):
        return None
    for setting, column, candidates in (
        ("data.image_column", file_column, files),
        ("data.label_column", label_column, labels),
    ):
        if column is None or column not in columns:
            raise DataError(
                f"{setting} must be a column of '{readable(path)}', got "
                f"{column or ', '.join(sorted(candidates)) or 'none'}; columns: "
                f"{_cut(readable(', '.join(columns)))}"
            )
    assert file_column is not None and label_column is not None
    return LabelFile(path, delimiter, file_column, label_column, split_column)


def _read_header(path: str) -> tuple[str, list[str]]:
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            header = file.readline()
        if "\0" in header:
            raise _unread(path, "it is UTF-16 or binary, save it as UTF-8")
        delimiter = max(",;\t", key=header.count)
        return delimiter, next(csv.reader([header], delimiter=delimiter), [])
    except (OSError, csv.Error) as error:
        raise _unread(path, getattr(error, "strerror", None) or str(error)) from error


def _read_csv(path: str, delimiter: str) -> Iterator[tuple[int, dict[str, str]]]:
    # As file names are: what is no UTF-8 finds its picture all the same.
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, restkey=MORE, strict=True)
            for row in reader:
                if any(row.pop(MORE, ())):
                    raise _unread(path, f"line {reader.line_num} has more fields than the header")
                yield reader.line_num, row
    except (OSError, csv.Error) as error:
        raise _unread(path, getattr(error, "strerror", None) or str(error)) from error


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _unread(path: str, reason: str | None) -> DataError:
    return DataError(
        f"data.label_file: '{readable(path)}' cannot be read ({reason}); repair it or name "
        "another file"
    )
