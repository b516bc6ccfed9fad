"""Notes and links to files, as optuna-dashboard 0.21 keeps them among Optuna's attributes.

Written within a transaction of ours, because optuna-dashboard's own functions take one for each
part and raise a version with each call: what is written twice here is there once.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from optuna.storages._rdb.models import StudySystemAttributeModel, TrialSystemAttributeModel
from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite

study_attributes: Table = StudySystemAttributeModel.__table__
trial_attributes: Table = TrialSystemAttributeModel.__table__

CHUNK = 2045
"""Characters of a note in one attribute, as optuna-dashboard cuts it."""


@dataclass(frozen=True)
class FileLink:
    """What Optuna calls the metadata of an artifact.

    Attributes:
        artifact_id: By which a store finds the file.
        filename: What people see.
        mimetype: What a browser is told.
    """

    artifact_id: str
    filename: str
    mimetype: str
    encoding: None = None


def note_trial(
    connection: Connection,
    study_id: int,
    trial_id: int,
    body: str,
    links: Iterable[FileLink],
    *,
    finished: bool = False,
) -> None:
    """Write the note of a trial, and link files to it.

    Args:
        connection: An open transaction.
        study_id: Optuna's row number of the study.
        trial_id: Of the trial.
        body: Markdown.
        links: More of them; those that are there stay.
        finished: Whether the trial has ended, so that its own attributes can no longer change.
    """
    _put_note(connection, study_id, f"dashboard:{trial_id}", body)
    if finished:
        linked = _by_key(f"dashboard:artifacts:{trial_id}:", links)
        _put(connection, study_attributes, {"study_id": study_id}, linked)
    else:
        _put(connection, trial_attributes, {"trial_id": trial_id}, _by_key("artifacts:", links))


def note_study(
    connection: Connection, study_id: int, body: str, links: Iterable[FileLink]
) -> None:
    """Write the note of a study, and link files to it."""
    _put_note(connection, study_id, "dashboard", body)
    _put(connection, study_attributes, {"study_id": study_id}, _by_key("artifacts:", links))


def _put_note(connection: Connection, study_id: int, prefix: str, body: str) -> None:
    """Write a note in place of an earlier one of ours.

    Ours have the version 0, and what a person saves in optuna-dashboard has a higher one: it is
    left alone.
    """
    version, chunk = f"{prefix}:note_ver", f"{prefix}:note_str:"
    _put(connection, study_attributes, {"study_id": study_id}, {version: 0}, replace=False)
    mine = study_attributes.c.study_id == study_id
    noted = select(study_attributes.c.value_json).where(mine, study_attributes.c.key == version)
    if json.loads(connection.execute(noted.with_for_update()).scalar_one()) != 0:
        return
    starts = range(0, len(body), CHUNK)
    chunks = {f"{chunk}{n}": body[at : at + CHUNK] for n, at in enumerate(starts)}
    older = study_attributes.c.key.startswith(chunk, autoescape=True)
    surplus = older & study_attributes.c.key.not_in(chunks)
    connection.execute(study_attributes.delete().where(mine, surplus))
    _put(connection, study_attributes, {"study_id": study_id}, chunks)


def _by_key(prefix: str, links: Iterable[FileLink]) -> dict[str, str]:
    return {prefix + link.artifact_id: json.dumps(asdict(link)) for link in links}


def _put(
    connection: Connection,
    table: Table,
    owner: Mapping[str, int],
    values: Mapping[str, Any],
    *,
    replace: bool = True,
) -> None:
    """Set attributes of a study or a trial, as Optuna would."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insertion = dialect.insert(table)
    keys = [*owner, "key"]
    put = (
        insertion.on_conflict_do_update(
            index_elements=keys, set_={"value_json": insertion.excluded.value_json}
        )
        if replace
        else insertion.on_conflict_do_nothing(index_elements=keys)
    )
    rows = [{**owner, "key": key, "value_json": json.dumps(one)} for key, one in values.items()]
    if rows:
        connection.execute(put, rows)
