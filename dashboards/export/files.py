"""The two tables of a study as Parquet or CSV files, written whole or not at all."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import csv, parquet

from dashboards.errors import DashboardError
from dashboards.export.tables import (
    EPOCH_SCHEMA,
    as_frame,
    build_epochs_table,
    build_trials_table,
    trial_values,
)
from storage.atomic_files import replacing_file
from storage.trial_records import MOST_TRIALS, TrialRecord

WRITERS = {".parquet": parquet.ParquetWriter, ".csv": csv.CSVWriter}
"""By the end of a file's name."""


@dataclass(frozen=True)
class Written:
    """What an export has written.

    Attributes:
        trials: The file of trials.
        epochs: The file of epochs beside it.
        n_trials: Rows of the one.
        n_epochs: Rows of the other.
    """

    trials: Path
    epochs: Path
    n_trials: int
    n_epochs: int


def epochs_path(path: Path) -> Path:
    """Return the file of epochs beside a file of trials: `trials.epochs.csv`."""
    return path.with_name(f"{path.stem}.epochs{path.suffix}")


def write_tables(records: Iterable[TrialRecord], path: Path) -> Written:
    """Write both tables; files that are there are replaced.

    Args:
        records: The trials by number; the epochs of a few hundred are in memory at a time.
        path: The file of trials, which ends in `.parquet` or `.csv`.

    Raises:
        DashboardError: If one of the files cannot be written; both are then as they were.
    """
    beside = epochs_path(path)
    with (
        _writing(path, beside),
        replacing_file(path) as trials_file,
        replacing_file(beside) as epochs_file,
    ):
        rows: list[dict[str, Any]] = []
        n_epochs = 0
        left = iter(records)
        with _table_writer(path, epochs_file, EPOCH_SCHEMA) as writer:
            while some := list(islice(left, MOST_TRIALS)):
                rows += map(trial_values, some)
                epochs = build_epochs_table(some)
                n_epochs += len(epochs)
                writer.write_table(epochs)
        table = build_trials_table(rows)
        with _table_writer(path, trials_file, table.schema) as writer:
            writer.write_table(table)
    return Written(path, beside, len(rows), n_epochs)


def _table_writer(path: Path, file: BinaryIO, schema: pa.Schema) -> Any:
    return WRITERS[path.suffix](file, _with_pandas_types(schema))


def _with_pandas_types(schema: pa.Schema) -> pa.Schema:
    """Return a schema by which `pandas.read_parquet` restores integers that may be missing."""
    frame = as_frame(schema.empty_table())
    return schema.with_metadata(pa.Schema.from_pandas(frame, preserve_index=False).metadata)


@contextmanager
def _writing(*paths: Path) -> Iterator[None]:
    for path in paths:
        if path.is_dir():  # else one is replaced before the other is seen to fail
            raise _unwritable(path, "Is a directory")
    try:
        yield
    except OSError as error:
        raise _unwritable(paths[0], error.strerror or str(error)) from error


def _unwritable(path: Path, reason: str) -> DashboardError:
    return DashboardError(
        f"--to must be a file that can be written, {path} cannot be ({reason}): free space, or "
        "give a file in a folder of yours"
    )
