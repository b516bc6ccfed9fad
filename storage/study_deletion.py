"""The deletion of a whole study with its final runs: Optuna's rows and ours, in one transaction.

Test evaluations stay, for what was seen cannot be unseen; so do the files of the run folder.
"""

from typing import Any

from optuna.storages._rdb.models import StudyModel
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from storage.errors import StorageError
from storage.optuna_rows import trials
from storage.process_identity import Owner
from storage.study_names import names_of_all
from storage.study_storage import StudyStorage
from storage.tables import attempts, epochs, protocols


def delete_whole_study(handle: StudyStorage, study_id: int, *, grace: float) -> list[int]:
    """Delete a study with its final runs: protocols, trials, attempts, epochs and notes.

    Args:
        handle: The database.
        study_id: Optuna's row number of the study; where there is none, nothing happens.
        grace: Age of a heartbeat, in seconds, after which it is no sign of life.

    Returns:
        Optuna's row numbers of what was deleted.

    Raises:
        StorageError: If a worker trains one of its trials.
    """
    name = select(StudyModel.study_name).where(StudyModel.study_id == study_id)

    def delete(connection: Connection) -> list[int]:
        found = connection.execute(name).scalar()
        return [] if found is None else _delete(handle, connection, found, grace)

    return handle.database.write(delete)


def delete_named_study(handle: StudyStorage, study_name: str, *, grace: float) -> None:
    """Delete the same of a study of which Optuna's row may be missing."""
    handle.database.write(lambda connection: _delete(handle, connection, study_name, grace))


def reject_workers(handle: StudyStorage, study_name: str, *, grace: float) -> None:
    """Reject a study that is at work.

    Raises:
        StorageError: If a worker trains one of its trials.
    """

    def reject(connection: Connection) -> None:
        names = names_to_delete(connection, study_name)
        ids = select(StudyModel.study_id).where(StudyModel.study_name.in_(names))
        _reject_workers(handle, connection, study_name, ids, grace)

    handle.database.read(reject)


def names_to_delete(connection: Connection, study_name: str) -> list[str]:
    """Return the names of a study and of what follows its search.

    A search that an earlier version has given such a name is none of it.
    """
    names = names_of_all(study_name)
    wanted = protocols.c.study_name.in_(names[1:])
    there = connection.execute(
        select(protocols.c.study_name, protocols.c.configuration).where(wanted)
    )
    searches = {name for name, configuration in there if configuration.get("name") == name}
    return [name for name in names if name not in searches]


def _reject_workers(
    handle: StudyStorage, connection: Connection, study_name: str, ids: Any, grace: float
) -> None:
    alive = (
        attempts.c.trial_id.in_(select(trials.c.trial_id).where(trials.c.study_id.in_(ids))),
        attempts.c.ending.is_(None),
        handle.database.clock - attempts.c.beat_at < grace,
    )
    if (lease := connection.execute(select(attempts).where(*alive)).first()) is not None:
        owner = Owner.parse(lease.owner).describe()
        raise StorageError(
            f"study {study_name!r} must be at rest to be deleted, {owner} "
            "trains one of its trials: stop its workers first"
        )


def _delete(
    handle: StudyStorage, connection: Connection, study_name: str, grace: float
) -> list[int]:
    names = names_to_delete(connection, study_name)
    with Session(connection) as session:
        of_names = select(StudyModel).where(StudyModel.study_name.in_(names))
        studies = session.scalars(of_names).all()
        ids: list[Any] = [study.study_id for study in studies]
        mine = select(trials.c.trial_id).where(trials.c.study_id.in_(ids))
        # Nobody claims a trial that is locked.
        connection.execute(mine.with_for_update())
        _reject_workers(handle, connection, study_name, ids, grace)
        for rows in (attempts, epochs):
            connection.execute(rows.delete().where(rows.c.trial_id.in_(mine)))
        connection.execute(protocols.delete().where(protocols.c.study_name.in_(names)))
        for study in studies:
            session.delete(study)
        session.flush()
    return ids
