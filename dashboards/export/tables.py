"""Two tables of a study, one row a trial and one row an epoch, with a type for each column.

Arrow tables, since they tell a missing value from a NaN; pandas gets nullable types from them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd
import pyarrow as pa

from storage.records import IMPORTED_FROM, EpochRecord
from storage.trial_records import TrialRecord

BEST_METRICS = tuple(
    f"validation_{metric}" for metric in ("loss", "accuracy", "top5_accuracy", "macro_f1")
)
NOTED = {
    "seed": pa.int64(),
    "device": pa.string(),
    "n_parameters": pa.int64(),
    "git_revision": pa.string(),
}
"""Attributes that our workers note with every trial, as columns of their own."""
TRIAL_TYPES = {
    "number": pa.int64(),
    "trial_id": pa.int64(),
    "slot": pa.int64(),
    "state": pa.string(),
    "value": pa.float64(),
    "best_epoch": pa.int64(),
    "epochs_done": pa.int64(),
    "last_macro_f1": pa.float64(),
    **{f"best_{name}": pa.float64() for name in BEST_METRICS},
    "reason_kind": pa.string(),
    "reason_message": pa.string(),
    "n_attempts": pa.int64(),
    "started_at": pa.timestamp("us", tz="UTC"),
    "ended_at": pa.timestamp("us", tz="UTC"),
    "seconds": pa.float64(),
    "host": pa.string(),
    **NOTED,
    "imported_from_study": pa.string(),
    "imported_from_trial": pa.int64(),
}
"""Columns of every table of trials; `params_` and `user_attrs_` of the study follow."""
EPOCH_SCHEMA = pa.schema(
    {
        "trial": pa.int64(),
        **{
            field.name: pa.int64() if field.type is int else pa.float64()
            for field in fields(EpochRecord)
        },
    }
)
PANDAS_TYPES = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
INT64 = range(-(2**63), 2**63)


def trial_values(record: TrialRecord) -> dict[str, Any]:
    """Return the row of a trial, without the columns that it has no value for."""
    row = record.row
    values = {name: getattr(row, name, getattr(record, name, None)) for name in TRIAL_TYPES}
    if row.best is not None:
        values |= {f"best_{name}": getattr(row.best, name) for name in BEST_METRICS}
    reason = row.reason or {}
    values |= {f"reason_{name}": reason.get(name) for name in ("kind", "message")}
    origin = row.attributes.get(IMPORTED_FROM, {})
    values |= {f"imported_from_{name}": origin.get(name) for name in ("study", "trial")}
    values |= {name: row.attributes.get(name) for name in NOTED}
    values |= {f"params_{name}": value for name, value in row.params.items()}
    others = row.attributes.keys() - {*NOTED, IMPORTED_FROM, "best_epoch"}
    values |= {f"user_attrs_{name}": row.attributes[name] for name in sorted(others)}
    return {name: value for name, value in values.items() if value is not None}


def build_trials_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Return the table of trials.

    Args:
        rows: What `trial_values` returns for each trial.

    Returns:
        The columns of `TRIAL_TYPES`; one `params_NAME` for each hyperparameter and one
        `user_attrs_NAME` for each other attribute of any trial, by name. A value that is no
        number, truth value or text is a text of JSON. What a trial has not, is null.
    """
    names = {name for row in rows for name in row} - TRIAL_TYPES.keys()
    columns = {
        name: pa.array([row.get(name) for row in rows], kind) for name, kind in TRIAL_TYPES.items()
    }
    columns |= {name: _column([row.get(name) for row in rows]) for name in sorted(names)}
    return pa.table(columns)


def _column(values: Sequence[Any]) -> pa.Array:
    """Return values of a type that holds all of them."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int} and all(value in INT64 for value in values if value is not None):
        return pa.array(values, pa.int64())
    if kinds in ({float}, {int, float}):
        return pa.array([None if value is None else float(value) for value in values])
    if len(kinds) == 1 and kinds <= {bool, str}:
        return pa.array(values)
    return pa.array([value if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def build_epochs_table(records: Iterable[TrialRecord]) -> pa.Table:
    """Return the table of epochs, by trial and epoch: the columns of `EPOCH_SCHEMA`."""
    rows = [
        {"trial": record.row.number, **vars(epoch)}
        for record in records
        for epoch in record.epochs
    ]
    return pa.Table.from_pylist(rows, schema=EPOCH_SCHEMA)


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Return a table as a data frame, with integers that may be missing."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=PANDAS_TYPES.get)
    return frame
