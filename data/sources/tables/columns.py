"""Which columns of a table hold the images and the classes, by the schema alone.

Reads what `datasets` writes into a schema without importing it. Must not read any row.
"""

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pyarrow as pa

from data.configuration import DataConfig
from data.errors import DataError

LABEL_NAMES = ("label", "labels", "class", "target", "category", "fine_label")
"""Columns that hold the classes where none has the type ClassLabel."""


class Columns(NamedTuple):
    """The columns in use."""

    image: str
    label: str


def find_columns(schema: pa.Schema, config: DataConfig, *, file: str) -> Columns:
    """Finds the columns of images and classes, by the settings, else by type, else by name.

    Args:
        schema: of the first table of train.
        config: names the columns, where they are not to be found.
        file: where the schema comes from, for messages.

    Raises:
        DataError: there is no such column, or more than one.
    """
    images = _find_images(schema)
    labels = _of_type(schema, "ClassLabel", pa.types.is_integer) or [
        name for name in LABEL_NAMES if name in schema.names
    ]
    image = _choose("image", images, "Image", schema, config.image_column, file=file)
    label = _choose("label", labels, "ClassLabel", schema, config.label_column, file=file)
    require_images(schema, image, file=file)
    return Columns(image, label)


def may_hold_images(schema: pa.Schema, config: DataConfig) -> bool:
    """Tell whether a table has a column of images, or the one that is configured."""
    if config.image_column is not None:
        return config.image_column in schema.names
    return bool(_find_images(schema))


def require_images(schema: pa.Schema, column: str, *, file: str) -> None:
    """Rejects a table whose image column is missing or can hold no images."""
    if column not in schema.names:
        raise DataError(
            f"data.image_column must be in every table, '{file}' has no column '{column}'; move "
            "the file away or write it again"
        )
    kind = schema.field(column).type
    if not holds_images(kind):
        raise DataError(
            f"data.image_column must hold images or names of files, '{column}' of '{file}' has "
            f"type {kind}; name another column"
        )


def _find_images(schema: pa.Schema) -> list[str]:
    return _of_type(schema, "Image", holds_images) or [
        field.name for field in schema if _is_stored_image(field.type)
    ]


def read_class_names(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    """The class names that the schema gives for the indices in a column, if it does."""
    if column not in _of_type(schema, "ClassLabel", pa.types.is_integer):
        return None
    names = _features(schema)[column].get("names")
    return tuple(map(str, names)) if isinstance(names, list) else None


def holds_images(kind: pa.DataType) -> bool:
    """Tells whether `datasets` can read images from a column stored like this."""
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return _is_stored_image(kind) or bool(is_text)


def _is_stored_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.get_field_index(name) >= 0 for name in ("bytes", "path"))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _choose(
    kind: str,
    found: list[str],
    wanted: str,
    schema: pa.Schema,
    configured: str | None,
    *,
    file: str,
) -> str:
    setting, columns = f"data.{kind}_column", ", ".join(schema.names)
    if configured is not None:
        if configured not in schema.names:
            raise DataError(
                f"{setting} must be a column of the source, got '{configured}'; columns: {columns}"
            )
        return configured
    if len(found) != 1:
        raise DataError(
            f"{setting} must be set where not exactly one column of '{file}' is of type {wanted}, "
            f"found {', '.join(found) or 'none'}; columns: {columns}; move a file away that "
            "is no table of images"
        )
    return found[0]


def _of_type(
    schema: pa.Schema, feature: str, is_stored: Callable[[pa.DataType], bool]
) -> list[str]:
    """Columns of a feature of `datasets`, unless they were stored anew as something else."""
    features = _features(schema)
    return [
        field.name
        for field in schema
        if features.get(field.name, {}).get("_type") == feature and is_stored(field.type)
    ]


def _features(schema: pa.Schema) -> dict[str, Mapping[str, object]]:
    try:
        stored = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {name: feature for name, feature in stored.items() if isinstance(feature, dict)}
