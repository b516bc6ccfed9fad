"""From what label columns store to class indices: the same names mean the same class everywhere.

Must not know which kind of file the labels come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.errors import DataError
from data.sources.encoded_images import LeftOut
from data.splits import TRAIN

UNLABELLED = -1
N_EXAMPLES = 5


@dataclass(frozen=True)
class StoredLabels:
    """The labels of one file, none where it has no such column.

    `names` are its own class names, where the labels are indices into them.
    """

    file: str
    n_rows: int
    values: pa.Array | pa.ChunkedArray | None
    names: tuple[str, ...] | None = None


def encode_labels(
    files: Mapping[str, Sequence[StoredLabels]], *, column: str
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """Encodes the labels of all splits as indices into the classes of train.

    The classes are the names that the first file of train gives, else its sorted values. -1 and
    null mean unlabelled.

    Args:
        files: by split, in the order of the rows; `train` is required.
        column: where the labels come from, for messages.

    Returns:
        The names of the classes, and the class of every row by split, -1 where unlabelled.

    Raises:
        DataError: the labels are no classes, or not the same in all files.
    """
    values = {
        split: [_decode(labels, column=column) for labels in parts]
        for split, parts in files.items()
    }
    first = files[TRAIN][0]
    classes = (
        pa.array(first.names, pa.string())
        if first.names
        else _sort_classes(values[TRAIN], column=column)
    )
    encoded = {
        split: np.concatenate(
            [
                _encode(part, classes, labels, first=first, column=column)
                for part, labels in zip(values[split], parts, strict=True)
            ]
        )
        for split, parts in files.items()
    }
    return tuple(str(name) for name in classes.to_pylist()), encoded


def find_unlabelled(split: str, labels_N: NDArray[np.int64]) -> tuple[LeftOut, ...]:
    """Counts the rows of a split that have no label."""
    rows = np.flatnonzero(labels_N == UNLABELLED)
    if not len(rows):
        return ()
    examples = tuple(f"row {row}" for row in rows[:N_EXAMPLES])
    return (
        LeftOut(split=split, reason="rows without a label", count=len(rows), examples=examples),
    )


def _decode(labels: StoredLabels, *, column: str) -> pa.Array:
    """Integers, strings or bools; indices as the names they stand for."""
    if labels.values is None:
        return pa.nulls(labels.n_rows)
    values = labels.values
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_nested(values.type):
        raise DataError(
            f"data.label_column '{column}' must hold one class for each image, '{labels.file}' "
            f"holds several ({values.type}): multi-label data sets are not supported; name "
            "another column"
        )
    if pa.types.is_integer(values.type):
        try:
            values = values.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise DataError(
                f"data.label_column '{column}' must hold integers of 64 bits with a sign, "
                f"'{labels.file}' does not ({error}); write classes as strings, or name another "
                "column"
            ) from error
        return values if labels.names is None else _name(values, labels, column=column)
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        return values.cast(pa.string())
    if any(is_kind(values.type) for is_kind in _KINDS):
        return values
    raise DataError(
        f"data.label_column '{column}' must hold integers, strings or bools, '{labels.file}' has "
        f"type {values.type}; write classes as one of these, or name another column"
    )


_KINDS = (pa.types.is_string, pa.types.is_boolean, pa.types.is_null)


def _name(indices: pa.Array, labels: StoredLabels, *, column: str) -> pa.Array:
    names = pa.array(labels.names, pa.string())
    largest = pc.max(indices).as_py()
    if largest is not None and largest >= len(names):
        raise DataError(
            f"data.label_column '{column}' must be below {len(names)}, the number of its class "
            f"names, '{labels.file}' has {largest}; repair the file"
        )
    return names.take(pc.if_else(pc.less(indices, 0), None, indices))


def _sort_classes(train: Sequence[pa.Array], *, column: str) -> pa.Array:
    labelled = [values for values in train if values.null_count < len(values)]
    if not labelled:
        raise DataError(
            f"data.label_column '{column}' must have labels in train, all are null; name another "
            "column"
        )
    kind = labelled[0].type
    distinct = {
        value for part in labelled if part.type == kind for value in part.unique().to_pylist()
    } - {None}
    # Of two numbers, -1 is a class: -1 and 1.
    if kind == pa.int64() and len(distinct) != 2:
        distinct.discard(UNLABELLED)
    return pa.array(sorted(distinct), kind)


def _encode(
    values: pa.Array, classes: pa.Array, labels: StoredLabels, *, first: StoredLabels, column: str
) -> NDArray[np.int64]:
    if values.type == pa.int64() and UNLABELLED not in classes.to_pylist():
        values = pc.if_else(pc.equal(values, UNLABELLED), None, values)
    if values.null_count == len(values):
        return np.full(len(values), UNLABELLED, dtype=np.int64)
    if values.type != classes.type:
        raise _differing(labels, first, column, f"type {values.type}, not {classes.type}")
    known = set(classes.to_pylist())
    found = labels.names or values.unique().drop_null().to_pylist()
    more = [str(name) for name in found if name not in known]
    if more:
        shown = ", ".join(more[:N_EXAMPLES]) + (", ..." if len(more) > N_EXAMPLES else "")
        raise _differing(labels, first, column, f"besides them {shown}")
    indices = pc.index_in(values, value_set=classes).fill_null(UNLABELLED)
    return np.asarray(indices, dtype=np.int64)


def _differing(
    labels: StoredLabels, first: StoredLabels, column: str, difference: str
) -> DataError:
    return DataError(
        f"data.label_column '{column}' must have the classes of '{first.file}' in every file, "
        f"'{labels.file}' has {difference}; encode all files together"
    )
