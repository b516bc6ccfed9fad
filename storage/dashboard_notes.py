"""Notes and links to files, as optuna-dashboard 0.21 stores them among Optuna's attributes.

optuna-dashboard's own `save_note` commits each part alone and raises the version with each call.
Here a note is one transaction, which the lease of a trial can guard, and keeps the version 0: a
higher one is a person's note, which stays.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from optuna.artifacts import ArtifactMeta
from optuna.storages._rdb.models import StudySystemAttributeModel, TrialSystemAttributeModel
from sqlalchemy import ColumnElement, Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite

study_attributes: Table = StudySystemAttributeModel.__table__
trial_attributes: Table = TrialSystemAttributeModel.__table__

CHUNK = 2045
"""Characters of a note in one attribute, as optuna-dashboard cuts it."""


def write_note(
    connection: Connection,
    study_id: int,
    body: str,
    links: Iterable[ArtifactMeta],
    *,
    trial_id: int | None = None,
    finished: bool = False,
) -> None:
    """Write the note of a study or a trial in place of an earlier one of ours, and link files.

    Args:
        connection: An open transaction.
        study_id: Optuna's row number of the study.
        body: Markdown.
        links: Files to add to those that are linked already.
        trial_id: Optuna's row number of the trial; None: the note is the study's.
        finished: Whether the trial has ended, so that its own attributes can no longer change.
    """
    owner = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    table, mine = study_attributes, {"study_id": study_id}
    key = table.c.key
    # Of two processes that write the first note at once, one waits here for the other.
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    first = dialect.insert(table).values(**mine, key=f"{owner}note_ver", value_json="0")
    connection.execute(first.on_conflict_do_nothing())
    version = connection.scalar(
        select(table.c.value_json)
        .where(table.c.study_id == study_id, key == f"{owner}note_ver")
        .with_for_update()
    )
    if version == "0":
        chunk = f"{owner}note_str:"
        starts = range(0, len(body), CHUNK)
        chunks = {f"{chunk}{n}": body[at : at + CHUNK] for n, at in enumerate(starts)}
        _replace(connection, table, mine, key.startswith(chunk, autoescape=True), chunks)
    prefix = f"dashboard:artifacts:{trial_id}:" if finished else "artifacts:"
    if trial_id is not None and not finished:
        table, mine = trial_attributes, {"trial_id": trial_id}
    linked = {prefix + link.artifact_id: json.dumps(asdict(link)) for link in links}
    _replace(connection, table, mine, table.c.key.in_(linked), linked)


def _replace(
    connection: Connection,
    table: Table,
    owner: Mapping[str, int],
    older: ColumnElement[bool],
    values: Mapping[str, Any],
) -> None:
    """Put attributes of a study or a trial in the place of older ones."""
    mine = [table.c[name] == number for name, number in owner.items()]
    connection.execute(table.delete().where(*mine, older))
    rows = [{**owner, "key": key, "value_json": json.dumps(one)} for key, one in values.items()]
    if rows:
        connection.execute(table.insert(), rows)
