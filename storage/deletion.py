"""The deletion of a whole study: Optuna's rows and ours, in one transaction.

Test evaluations stay, for what was seen cannot be unseen; so do the files of the run folder.
"""

from optuna.storages._rdb.models import StudyModel
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from storage.errors import StorageError
from storage.optuna_rows import trials
from storage.study_storage import StudyStorage
from storage.tables import attempts, epochs, protocols


def delete_whole_study(handle: StudyStorage, study_id: int, *, grace: float) -> None:
    """Delete a study with its protocol, trials, attempts, epochs and notes.

    Args:
        handle: The database.
        study_id: Optuna's row number of the study; where there is none, nothing happens.
        grace: Age of a beat, in seconds, after which it is no sign of life.

    Raises:
        StorageError: If a worker trains one of its trials.
    """

    def delete(connection: Connection) -> None:
        with Session(connection) as session:
            study = session.get(StudyModel, study_id)
            if study is None:
                return
            mine = select(trials.c.trial_id).where(trials.c.study_id == study_id)
            # Nobody claims a trial that is locked.
            connection.execute(mine.with_for_update())
            alive = (
                attempts.c.trial_id.in_(mine),
                attempts.c.ending.is_(None),
                handle.database.clock - attempts.c.beat_at < grace,
            )
            if (lease := connection.execute(select(attempts).where(*alive)).first()) is not None:
                raise StorageError(
                    f"study {study.study_name!r} must be at rest to be deleted, {lease.owner} "
                    "trains one of its trials: stop its workers first"
                )
            for rows in (attempts, epochs):
                connection.execute(rows.delete().where(rows.c.trial_id.in_(mine)))
            named = protocols.c.study_name == study.study_name
            connection.execute(protocols.delete().where(named))
            session.delete(study)
            session.flush()

    handle.database.write(delete)
