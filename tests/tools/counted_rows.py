"""Counts the rows that a SQLite database sends to a handle."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy

from storage.study_storage import StudyStorage


class Rows:
    """How many rows were sent."""

    count = 0

    def add(self, _cursor: Any, row: Any) -> Any:
        """Count a row and let it pass."""
        self.count += 1
        return row


@contextmanager
def counted_rows(handle: StudyStorage) -> Iterator[Rows]:
    """Count the rows that every new connection of a handle sends."""
    rows = Rows()

    def count(connection: Any, _record: object) -> None:
        connection.row_factory = rows.add

    handle.remove_session()
    handle.engine.dispose()
    sqlalchemy.event.listen(handle.engine, "connect", count)
    try:
        yield rows
    finally:
        sqlalchemy.event.remove(handle.engine, "connect", count)
        handle.engine.dispose()
