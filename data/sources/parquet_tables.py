"""Tables with an image and a class column, opened by `datasets`: from the hub or a folder alike.

`datasets` is imported inside the functions, so that opening a finished cache entry never pays
for it. Must not decode pictures.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data.configuration import DataConfig
from data.errors import DataError
from data.sources.encoded_images import EncodedImage, EncodedImages, EncodedSplit
from data.sources.split_names import match_splits

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features


def hub_revision(hub_id: str) -> str:
    """Asks `datasets` which revision of a hub data set it would open, offline the cached one.

    Raises:
        DataError: the hub does not know it, or cannot be reached and nothing is cached.
    """
    from datasets import load_dataset_builder

    try:
        return str(load_dataset_builder(hub_id).hash)
    except Exception as error:  # the hub client raises errors of several libraries
        raise _rejection(hub_id, error) from error


def open_tables(
    path: str,
    config: DataConfig,
    *,
    folder: Path | None = None,
    download_folder: Path | None = None,
) -> EncodedImages:
    """Opens the splits of a hub id or of a folder in the hub's parquet layout.

    Args:
        path: what `datasets.load_dataset` is given.
        config: names the columns, where they are not to be found by type.
        folder: the folder, where it is one: rows may name files in it instead of their bytes.
        download_folder: where `datasets` keeps its copy; none: its own cache.

    Raises:
        DataError: it cannot be opened, or has no such columns or splits.
    """
    from datasets import Image, disable_progress_bars, load_dataset

    disable_progress_bars()  # the decoding that follows shows its own
    try:
        tables = load_dataset(path, cache_dir=download_folder and str(download_folder))
    except Exception as error:  # errors of the hub client, pyarrow and datasets alike
        raise _rejection(path, error) from error
    names = match_splits(tables, source=path, chosen=config.splits)
    features = tables[names["train"]].features
    image_column = _find_column(features, "image", config.image_column)
    label_column = _find_column(features, "label", config.label_column)
    class_names, labels = _read_labels(tables, label_column)
    undecoded = tables.select_columns([image_column]).cast_column(
        image_column, Image(decode=False)
    )
    folders = _named_folders(tables, folder)
    splits = {
        split: EncodedSplit(labels[name], _RowReader(undecoded[name], image_column, folders), name)
        for split, name in names.items()
    }
    return EncodedImages(class_names, splits)


def _named_folders(tables: DatasetDict, folder: Path | None) -> tuple[Path, ...]:
    """Folders with the files that rows may name: those whose content the fingerprint covers."""
    from datasets import config as places
    from huggingface_hub.constants import HF_HUB_CACHE

    if folder is not None:
        return (folder,)
    # Here `datasets` names the files itself, after it has downloaded them.
    if tables["train"].info.builder_name == "imagefolder":
        return Path(HF_HUB_CACHE), places.EXTRACTED_DATASETS_PATH
    return ()


class _RowReader:
    def __init__(self, table: Dataset, column: str, folders: tuple[Path, ...]) -> None:
        self._table = table.with_format("arrow")
        self._column = column
        self._folders = folders

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
        return EncodedImage(name, self._find(file) if file else None)

    def _find(self, file: str) -> Path | None:
        """The file, links followed; none where it is outside the folders, or hidden in them."""
        for folder in self._folders:
            root = os.path.realpath(folder)
            try:
                found = Path(os.path.realpath(os.path.join(root, file)))
            except ValueError:  # a null character
                return None
            if found.is_relative_to(root):
                hidden = any(part.startswith(".") for part in found.relative_to(root).parts)
                return None if hidden else found
        return None


def _find_column(features: Features, kind: str, configured: str | None) -> str:
    from datasets import ClassLabel, Image

    setting, columns = f"data.{kind}_column", ", ".join(features)
    if configured is not None:
        if configured not in features:
            raise DataError(
                f"{setting} must be a column of the source, got '{configured}'; columns: {columns}"
            )
        return configured
    wanted = Image if kind == "image" else ClassLabel
    found = [name for name, feature in features.items() if isinstance(feature, wanted)]
    if len(found) != 1:
        raise DataError(
            f"{setting} must be set where not exactly one column is of type {wanted.__name__}, "
            f"found {', '.join(found) or 'none'}; columns: {columns}"
        )
    return str(found[0])


def _read_labels(
    tables: DatasetDict, column: str
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    from datasets import ClassLabel

    feature = tables["train"].features[column]
    if not isinstance(feature, ClassLabel):
        raise DataError(
            f"data.label_column must be of type ClassLabel, '{column}' is {feature}; encode it "
            "with datasets' class_encode_column"
        )
    labels = {}
    for name, table in tables.items():
        values = (
            table.with_format("arrow").data.column(column) if column in table.features else None
        )
        labels[name] = (
            np.full(len(table), -1) if values is None else values.fill_null(-1).to_numpy()
        ).astype(np.int64)
        named = table.features.get(column, feature)
        if getattr(named, "names", None) != feature.names or labels[name].max() >= len(
            feature.names
        ):
            raise DataError(
                f"data.label_column '{column}' must mean the same classes in every split, "
                f"'{name}' differs from 'train'; encode all splits together"
            )
    return tuple(feature.names), labels


def _rejection(path: str, error: Exception) -> DataError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DataError(
        f"data.source: '{path}' must be a data set that `datasets` can open, it answers: "
        f"{reason}; check the name and the connection"
    )
