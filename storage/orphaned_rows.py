"""Our rows of trials that Optuna no longer has.

SQLite gives the numbers of deleted rows again: a new trial would begin with what an old one left.
Test evaluations stay, for what was seen cannot be unseen, under a number that no trial ever has.
"""

from sqlalchemy import ColumnElement, Connection, Table, column, func, select, table

from storage.database import Database
from storage.tables import attempts, epochs, test_evaluations

TRIALS = table("trials", column("trial_id"))
"""Optuna's."""


def remove_orphans(database: Database) -> None:
    """Remove the rows that belong to no trial, whichever they are by now.

    To be called before trials are added. Test evaluations get negative numbers instead.
    """

    def remove(connection: Connection) -> None:
        for rows in (attempts, epochs):
            connection.execute(rows.delete().where(_is_orphan(rows)))
        _set_tests_aside(connection)

    database.write(remove)


def _set_tests_aside(connection: Connection) -> None:
    number = test_evaluations.c.trial_id
    orphaned = select(number).where(_is_orphan(test_evaluations), number >= 0).order_by(number)
    lowest = connection.execute(select(func.min(number)).where(number < 0)).scalar() or 0
    for distance, old in enumerate(connection.execute(orphaned).scalars().all(), start=1):
        change = test_evaluations.update().where(number == old)
        connection.execute(change.values(trial_id=lowest - distance))


def _is_orphan(rows: Table) -> ColumnElement[bool]:
    return rows.c.trial_id.not_in(select(TRIALS.c.trial_id))
