"""Tables with an image and a class column: rows read by `datasets`, of the hub or a folder alike.

`datasets` is imported inside the functions, so that opening a finished cache entry never pays
for it. Must not decode pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.built_folder import require_free_space
from data.configuration import DataConfig
from data.errors import DataError
from data.sources.encoded_images import (
    EncodedImage,
    EncodedImages,
    EncodedSplit,
    LeftOut,
)
from data.sources.labels import StoredLabels, encode_labels, find_unlabelled
from data.sources.split_names import match_splits
from data.sources.tables.columns import Columns, find_columns, read_class_names
from data.sources.tables.named_files import NamedFiles
from data.sources.tables.table_files import TableFile, reading
from data.sources.tables.table_layout import choose_configuration
from data.splits import TRAIN

if TYPE_CHECKING:
    from datasets import Dataset

BYTES_AT_ONCE = 2**23
MOST_ROWS_AT_ONCE = 1000
HUB_URL = re.compile(r"hf://datasets/([^@]+)@([^/]+)/(.+)")


def hub_revision(hub_id: str, *, configuration: str | None) -> str:
    """Asks `datasets` which revision of a hub data set it would open, offline the cached one.

    Raises:
        DataError: the hub does not know it or its configuration, or cannot be reached and nothing
            is cached.
    """
    from datasets import load_dataset_builder

    try:
        return str(load_dataset_builder(hub_id, name=configuration).hash)
    except Exception as error:  # the hub client raises errors of several libraries
        raise _reject_hub_id(hub_id, configuration, error) from error


def open_tables(hub_id: str, config: DataConfig) -> EncodedImages:
    """Opens the splits of a hub id; `datasets` keeps its copy in its own cache.

    Args:
        hub_id: owner and name.
        config: names configuration and splits, and the columns where they are not to be found.

    Raises:
        DataError: it cannot be opened, or has no such configuration, columns or splits.
    """
    from datasets import disable_progress_bars, load_dataset_builder

    disable_progress_bars()  # the decoding that follows shows its own
    try:
        builder = load_dataset_builder(hub_id, name=config.configuration)
        builder.download_and_prepare()
        tables = builder.as_dataset()
    except Exception as error:  # errors of the hub client, pyarrow and datasets alike
        raise _reject_hub_id(hub_id, config.configuration, error) from error
    names = match_splits(tables, source=hub_id, chosen=config.splits)
    train = tables[names[TRAIN]]
    columns = find_columns(train.features.arrow_schema, config, file=hub_id)
    downloads = [url for urls in (builder.config.data_files or {}).values() for url in urls]
    _require_same_names(hub_id, downloads, columns.label)
    return _build_images(
        columns,
        names,
        {split: [_labels_of(tables[name], name, columns)] for split, name in names.items()},
        {split: tables[name] for split, name in names.items()},
        folders=_hub_folders(train),
        left_out=tuple(
            leave_out_split(name, len(table))
            for name, table in tables.items()
            if name not in names.values()
        ),
    )


def open_files(
    splits: Mapping[str, tuple[str, Sequence[TableFile]]],
    columns: Columns,
    *,
    folder: Path,
    scratch: Path,
    left_out: tuple[LeftOut, ...],
) -> EncodedImages:
    """Opens parquet or arrow files of a folder.

    Args:
        splits: the source's own name and the files of train, and of validation and test.
        columns: those in use.
        folder: rows may name files in it instead of holding their bytes.
        scratch: where parquet is unpacked.
        left_out: what is known not to be used.

    Raises:
        DataError: a file is not whole, or the classes differ.
    """
    stored = {split: [file.path for file in files] for split, (_, files) in splits.items()}
    labels = {
        split: [_labels_of_file(file, columns) for file in files]
        for split, (_, files) in splits.items()
    }
    is_arrow = stored[TRAIN][0].suffix == ".arrow"
    tables = _map(stored) if is_arrow else _unpack(stored, columns.image, scratch=scratch)
    names = {split: name for split, (name, _) in splits.items()}
    return _build_images(columns, names, labels, tables, folders=(folder,), left_out=left_out)


def leave_out_split(name: str, n_rows: int) -> LeftOut:
    """Counts the rows of a split that is not used."""
    return LeftOut(split=name, reason="rows of a split that is not used", count=n_rows)


def _build_images(
    columns: Columns,
    names: Mapping[str, str],
    stored: Mapping[str, Sequence[StoredLabels]],
    tables: Mapping[str, Dataset],
    *,
    folders: tuple[Path, ...],
    left_out: tuple[LeftOut, ...],
) -> EncodedImages:
    from datasets import Image

    class_names, labels = encode_labels(stored, column=columns.label)
    splits = {}
    for split, name in names.items():
        table = tables[split].select_columns([columns.image])
        table = table.cast_column(columns.image, Image(decode=False))
        splits[split] = EncodedSplit(
            labels[split], _RowReader(table, columns.image, folders), name
        )
        left_out += find_unlabelled(name, labels[split])
    return EncodedImages(class_names, splits, left_out)


def _labels_of(table: Dataset, name: str, columns: Columns) -> StoredLabels:
    values = (
        table.with_format("arrow").data.column(columns.label)
        if (columns.label in table.column_names)
        else None
    )
    names = read_class_names(table.features.arrow_schema, columns.label)
    return StoredLabels(f"split {name}", len(table), values, names)


def _labels_of_file(file: TableFile, columns: Columns) -> StoredLabels:
    is_labelled = columns.label in file.schema.names
    return StoredLabels(
        str(file.path),
        file.count_rows(),
        file.read_column(columns.label) if is_labelled else None,
        read_class_names(file.schema, columns.label),
    )


def _map(paths: Mapping[str, Sequence[Path]]) -> dict[str, Dataset]:
    from datasets import Dataset, concatenate_datasets

    return {
        split: concatenate_datasets([Dataset.from_file(str(path)) for path in files])
        for split, files in paths.items()
    }


def _rows_at_once(files: Sequence[Path]) -> int:
    n_bytes = sum(path.stat().st_size for path in files)
    n_rows = sum(TableFile(path).n_rows for path in files)
    return max(1, min(MOST_ROWS_AT_ONCE, BYTES_AT_ONCE * n_rows // n_bytes))


def _unpack(
    paths: Mapping[str, Sequence[Path]], column: str, *, scratch: Path
) -> dict[str, Dataset]:
    """Writes the images of parquet files where any row can be read at once."""
    from datasets import Dataset, Image

    every = [path for files in paths.values() for path in files]
    require_free_space(scratch, n_bytes=sum(path.stat().st_size for path in every))
    feature, n_rows = Image(decode=False), _rows_at_once(every)
    schema = pa.schema([(column, feature.pa_type)])

    def read(path: Path) -> Iterator[pa.RecordBatch]:
        for values in TableFile(path).read_in_parts(column, n_rows=n_rows):
            with reading(path):
                batch = pa.record_batch([feature.cast_storage(values)], schema=schema)
            yield batch

    tables = {}
    for split, files in paths.items():
        unpacked = scratch / f"{split}.arrow"
        try:
            with pa.OSFile(str(unpacked), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
                for batch in chain.from_iterable(map(read, files)):
                    stream.write_batch(batch)
        except OSError as error:
            raise DataError(
                f"data.source: '{files[0].parent}' cannot be unpacked into '{scratch}' "
                f"({error}); repair that"
            ) from error
        tables[split] = Dataset.from_file(str(unpacked))
    return tables


def _require_same_names(hub_id: str, urls: Sequence[str], column: str) -> None:
    """Rejects files that name the classes differently: `datasets` reads all by the first one."""
    found: dict[tuple[str, ...] | None, str] = {}
    for path in map(_find_download, urls):
        if path is not None and path.suffix == ".parquet":
            found.setdefault(read_class_names(TableFile(path).schema, column), path.name)
    found.pop(None, None)
    if len(found) > 1:
        first, second = list(found.values())[:2]
        raise DataError(
            f"data.source: the files of '{hub_id}' must name the classes in one order, "
            f"'{first}' and '{second}' differ; download them and name their folder"
        )


def _find_download(url: str) -> Path | None:
    """Where a file that `datasets` has downloaded lies, none where it is not kept."""
    from huggingface_hub import try_to_load_from_cache

    if not (parts := HUB_URL.fullmatch(url)):
        return path if (path := Path(url)).is_file() else None
    kept = try_to_load_from_cache(parts[1], parts[3], revision=parts[2], repo_type="dataset")
    return Path(kept) if isinstance(kept, str) else None


def _hub_folders(table: Dataset) -> tuple[Path, ...]:
    """Folders with the files that rows may name: those whose content the revision covers."""
    from datasets import config as places
    from huggingface_hub.constants import HF_HUB_CACHE

    # Here `datasets` names the files itself, after it has downloaded them.
    if table.info.builder_name == "imagefolder":
        return Path(HF_HUB_CACHE), places.EXTRACTED_DATASETS_PATH
    return ()


class _RowReader:
    def __init__(self, table: Dataset, column: str, folders: tuple[Path, ...]) -> None:
        self._table = table.with_format("arrow")
        self._column = column
        self._named_files = NamedFiles(folders)

    def __call__(self, rows_N: NDArray[np.int64]) -> list[EncodedImage]:
        images = self._table[rows_N.tolist()].column(self._column).to_pylist()
        return [self._encoded(image, int(row)) for image, row in zip(images, rows_N, strict=True)]

    def _encoded(self, image: dict[str, bytes | str | None] | None, row: int) -> EncodedImage:
        stored = image or {}
        content, path = stored.get("bytes"), stored.get("path")
        file = path if isinstance(path, str) and path else None
        name = f"row {row} ({file})" if file else f"row {row}"
        if isinstance(content, bytes):
            return EncodedImage(name, content)
        return EncodedImage(name, self._named_files.find(file) if file else None)


def _reject_hub_id(hub_id: str, configuration: str | None, error: Exception) -> DataError:
    from datasets import get_dataset_config_names

    if isinstance(error, ValueError):
        try:
            choose_configuration(
                get_dataset_config_names(hub_id), source=hub_id, chosen=configuration
            )
        except DataError as rejection:
            return rejection
        except Exception:  # then the first error says why
            pass
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DataError(
        f"data.source: '{hub_id}' must be a data set that `datasets` can open, it answers: "
        f"{reason}; check the name and the connection"
    )
