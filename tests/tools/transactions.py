"""Looks at a database from beside the processes that use it."""

import sqlite3
from contextlib import closing

import psycopg
from sqlalchemy.engine import make_url


def in_transaction(url: str) -> bool:
    """Return whether any process holds SQLite's write lock, or an open PostgreSQL transaction."""
    address = make_url(url)
    if address.drivername == "sqlite":
        assert address.database is not None
        with closing(
            sqlite3.connect(address.database, timeout=0.2, isolation_level=None)
        ) as looker:
            try:
                looker.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            looker.execute("ROLLBACK")
            return False
    plain = address.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as looker:
        (n_open,) = looker.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND (state <> 'idle' OR xact_start IS NOT NULL)"
        ).fetchone() or (0,)
        return bool(n_open)
