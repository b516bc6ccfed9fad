"""Copies of a SQLite database that is in use, and bringing one back."""

import sqlite3
from contextlib import closing
from pathlib import Path


def copy_database(source: Path, target: Path) -> None:
    """Make `target` what `source` is now; open connections of either go on with what is there."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
