"""A CSV file that names pictures and their classes, such as Kaggle's `train.csv`.

Must not look for the pictures.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from os.path import splitext
from typing import NamedTuple

from data.configuration import DataConfig
from data.errors import DataError
from data.sources.folder_walk import Folder, readable
from data.sources.split_names import split_of

MORE = "\0"
"""Key of fields beyond the header: no column is called so."""
DEFAULT_NAME = "metadata.csv"
_FILE_COLUMNS = "filename file imagefile imagename imagepath filepath path image imageid img id"
FILE_COLUMNS = tuple(_FILE_COLUMNS.split())
"""Without case, spaces and underscores; the first of them that a file has."""
_LABEL_COLUMNS = "label labels labelname class classname classid category target species breed"
LABEL_COLUMNS = frozenset(_LABEL_COLUMNS.split())
SPLIT_COLUMN = "split"
MOST_SHOWN = 200
"""Characters of a header that messages show: a file of another kind may have one line only."""


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

    def rows(self) -> Iterator[LabelRow]:
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
            yield LabelRow(self, line, name, label, split)


class LabelRow(NamedTuple):
    """One row: its line in the file, and what it says of a picture, empty where nothing."""

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
