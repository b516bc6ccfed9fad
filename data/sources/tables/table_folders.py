"""Folders of tables: parquet in the layouts of the hub, `save_to_disk`, and tar shards.

Says which files count before any image is read, without importing `datasets`.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field

from data.configuration import DataConfig
from data.errors import DataError
from data.file_digests import DIGESTS_FILE
from data.sources.encoded_images import EncodedImages, LeftOut
from data.sources.folder_walk import walk
from data.sources.labels import N_EXAMPLES
from data.sources.picture_files import is_picture
from data.sources.split_names import match_splits
from data.sources.tables.columns import find_columns, may_hold_images, require_images
from data.sources.tables.hub_readme import README, Features
from data.sources.tables.named_files import NamedFiles
from data.sources.tables.table_files import TableFile, reading
from data.sources.tables.table_layout import Layout, list_tables, read_layout
from data.sources.tables.table_source import leave_out_split, open_files
from data.sources.tables.web_dataset import open_shards
from data.sources.unused_files import count_files_beside
from data.splits import SPLITS, TRAIN

PARQUET, TAR = ".parquet", ".tar"
DICT_FILE, STATE_FILE = "dataset_dict.json", "state.json"
INFO_FILE = "dataset_info.json"
METADATA = "metadata.csv"
DESCRIPTIONS = (README, DICT_FILE, STATE_FILE, INFO_FILE, DIGESTS_FILE)


@dataclass(frozen=True)
class TableFolder:
    """Tables that were found in a folder.

    `files` is everything that decides which images and classes they give: the tables in use,
    picture files that their rows name, and what tells where the tables are. `says` is what a
    README tells of them: its other sentences may change. `left_out` counts other files.
    """

    files: tuple[Path, ...]
    says: str
    _open: Callable[[Path], EncodedImages]
    left_out: tuple[LeftOut, ...]

    def open(self, *, scratch: Path) -> EncodedImages:
        """Opens the tables.

        Args:
            scratch: an existing folder for temporary copies, which must outlive the result.

        Raises:
            DataError: they cannot be used as configured.
        """
        return self._open(scratch)


def find_tables(folder: Path, config: DataConfig) -> TableFolder | None:
    """Looks for tables in a folder, without reading their rows.

    Args:
        folder: the source.
        config: names configuration, splits and columns.

    Returns:
        None where the folder holds no tables, or a label file names pictures.

    Raises:
        DataError: it does, but they cannot be used as configured.
    """
    if config.label_file is not None:
        return None
    if saved := _find_saved(folder, config):
        return saved
    files = list_tables(folder, (PARQUET, TAR))
    parquet = [path for path in files if path.name.lower().endswith(PARQUET)]
    shards = [path for path in files if path not in parquet]
    layout = read_layout(folder, parquet, suffix=PARQUET, configuration=config.configuration)
    if layout is not None and not _lie_beside_images(folder, layout, config):
        return _use_tables(folder, layout, config)
    if (folder / METADATA).exists() or not _holds_only(folder, shards, config):
        shards = []
    layout = read_layout(folder, shards, suffix=TAR, configuration=config.configuration)
    return None if layout is None else _use_shards(folder, layout, config)


def _lie_beside_images(folder: Path, layout: Layout, config: DataConfig) -> bool:
    """Whether no table can hold images, as one of features or results, but the folder does."""
    tables = (path for paths in layout.splits.values() for path in paths)
    if any(may_hold_images(TableFile(p, layout.features).schema, config) for p in tables):
        return False
    return walk(folder, is_used=is_picture, skipped=config.cache).n_used > 0


def _find_saved(folder: Path, config: DataConfig) -> TableFolder | None:
    """What `save_to_disk` wrote: several splits, or one table, which is train."""
    index: tuple[Path, ...] = ()
    dictionary, state = folder / DICT_FILE, folder / STATE_FILE
    if dictionary.is_file():
        with reading(dictionary):
            names = _SavedSplits.model_validate_json(dictionary.read_bytes()).splits
        states, index = {name: folder / name / STATE_FILE for name in names}, (dictionary,)
    elif state.is_file() and (folder / INFO_FILE).is_file():
        states = {TRAIN: state}
    else:
        return None
    if config.configuration is not None:
        raise DataError(
            f"data.configuration must not be set for a folder of save_to_disk, '{folder}' is one, "
            f"got '{config.configuration}'; remove it"
        )
    splits = {name: _list_saved(path) for name, path in states.items()}
    used = match_splits(splits, source=str(folder), chosen=config.splits).values()
    index = (*index, *(states[name] for name in used))
    return _use_tables(folder, Layout(splits), config, index=index)


def _list_saved(state: Path) -> tuple[Path, ...]:
    with reading(state):
        stored = _SavedTable.model_validate_json(state.read_bytes())
    return tuple(state.parent / Path(file.filename).name for file in stored.files)


class _SavedSplits(BaseModel):
    splits: list[str]


class _SavedFile(BaseModel):
    filename: str


class _SavedTable(BaseModel):
    files: list[_SavedFile] = Field(alias="_data_files", min_length=1)


def _use_tables(
    folder: Path, layout: Layout, config: DataConfig, *, index: tuple[Path, ...] = ()
) -> TableFolder:
    used = _match(folder, layout, config)
    tables = {
        split: (name, [TableFile(path, layout.features) for path in layout.splits[name]])
        for split, name in used.items()
    }
    first = tables[TRAIN][1][0]
    columns = find_columns(first.schema, config, file=str(first.path))
    names: set[str] = set()
    for _, files in tables.values():
        for file in files:
            require_images(file.schema, columns.image, file=str(file.path))
            names.update(file.named_files(columns.image))

    pictures = _find_pictures(folder, names)

    def open_(scratch: Path) -> EncodedImages:
        unused = tuple(
            leave_out_split(name, sum(TableFile(path).count_rows() for path in paths))
            for name, paths in layout.splits.items()
            if name not in used.values()
        )
        return open_files(tables, columns, folder=folder, scratch=scratch, left_out=unused)

    by_readme = any(file.is_described_elsewhere for _, files in tables.values() for file in files)
    says = _describe(folder, layout, used, features=layout.features if by_readme else {})
    left_out = _leave_out_files(layout, (*index, *pictures), folder, config)
    return TableFolder((*_list_used(layout, used), *index, *pictures), says, open_, left_out)


def _find_pictures(folder: Path, names: set[str]) -> list[Path]:
    """The files that rows name, each once, in the order of their paths."""
    named_files = NamedFiles((folder,))
    found = {
        str(path): path
        for name in names
        if (path := named_files.find(name)) is not None and path.is_file()
    }
    return [found[name] for name in sorted(found)]


def _use_shards(folder: Path, layout: Layout, config: DataConfig) -> TableFolder:
    used = _match(folder, layout, config)
    shards = {split: (name, layout.splits[name]) for split, name in used.items()}
    unused = tuple(
        LeftOut(
            split=name,
            reason="shards of a split that is not used",
            count=len(paths),
            examples=_name_first(paths, folder),
        )
        for name, paths in layout.splits.items()
        if name not in used.values()
    )

    def open_(scratch: Path) -> EncodedImages:
        return open_shards(shards, config)

    left_out = unused + _leave_out_files(layout, (), folder, config)
    return TableFolder(_list_used(layout, used), _describe(folder, layout, used), open_, left_out)


def _match(folder: Path, layout: Layout, config: DataConfig) -> dict[str, str]:
    used = match_splits(layout.splits, source=str(folder), chosen=config.splits)
    for name in used.values():
        if not layout.splits[name]:
            raise DataError(
                f"data.source: split '{name}' of '{folder}' must have tables, its README.md names "
                "files that are not there; download them or set data.splits"
            )
    return {split: used[split] for split in SPLITS if split in used}


def _list_used(layout: Layout, used: dict[str, str]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path for name in used.values() for path in layout.splits[name]))


def _describe(
    folder: Path, layout: Layout, used: dict[str, str], *, features: Features | None = None
) -> str:
    """What decides besides the tables themselves: which of them are which split, and columns."""
    splits = {
        split: [str(path.relative_to(folder)) for path in layout.splits[name]]
        for split, name in used.items()
    }
    return json.dumps({"splits": splits, "features": features or {}})


def _leave_out_files(
    layout: Layout, others: tuple[Path, ...], folder: Path, config: DataConfig
) -> tuple[LeftOut, ...]:
    """Count tables of other configurations, and the files that lie beside all tables."""
    tables = (path for paths in layout.splits.values() for path in paths)
    known = {os.path.relpath(path, folder) for path in (*tables, *layout.others, *others)}
    beside = count_files_beside(folder, known, ignored=DESCRIPTIONS, skipped=config.cache)
    if not layout.others:
        return beside
    elsewhere = LeftOut(
        split=None,
        reason="tables of a configuration that is not used",
        count=len(layout.others),
        examples=_name_first(layout.others, folder),
    )
    return elsewhere, *beside


def _name_first(paths: tuple[Path, ...], folder: Path) -> tuple[str, ...]:
    return tuple(str(path.relative_to(folder)) for path in paths[:N_EXAMPLES])


def _holds_only(folder: Path, shards: list[Path], config: DataConfig) -> bool:
    """Whether a folder is one of shards: archives may lie beside class folders and pictures."""
    top = walk(folder, is_used=is_picture, skipped=config.cache)
    above = {os.path.normpath(parent) for path in shards for parent in path.parents}
    return not any(
        inner.used and os.path.normpath(inner.path) not in above for inner in top.below()
    )
