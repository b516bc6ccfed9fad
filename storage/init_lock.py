"""The lock under which one process at a time creates tables and fills queues.

It is asked for again and again rather than waited for: a process that waits holds no connection of
a pooler back from the one that has the lock, and can say for whom it waits.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import sqlalchemy
from sqlalchemy import Connection, exc, text
from sqlalchemy.engine import URL

from storage.access import describe_obstacle
from storage.addresses import shown, sqlite_path
from storage.engines import engine_options, prepare_engine
from storage.errors import AccessDeniedError, StorageError
from storage.group_rights import make_folders, share
from storage.process_identity import process_label
from storage.sqlite_files import is_writable

logger = logging.getLogger(__name__)

LOCK_KEY = 5_748_261  # any fixed number: the advisory lock that guards `study init`
POLL_SECONDS = 0.1
SAY_AFTER_SECONDS = 2.0
PATIENCE_SECONDS = 300.0
# The transaction that has the lock stands still for as long as the work under the lock takes.
TAKE = text(
    "SELECT set_config('idle_in_transaction_session_timeout', '0', true), "
    f"pg_try_advisory_xact_lock({LOCK_KEY})"
)
HOLDER = text(
    "SELECT coalesce(nullif(application_name, ''), 'a session') "
    "|| ' (server process ' || pid || coalesce(', from ' || host(client_addr), '') || ')' "
    "FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND database = datid "
    f"AND datname = current_database() AND classid = 0 AND objid = {LOCK_KEY}"
)


@contextmanager
def initialising(
    url: URL, *, patience_seconds: float = PATIENCE_SECONDS, read_only: bool = False
) -> Iterator[None]:
    """Let one process at a time create tables and fill a queue.

    Args:
        url: Of the database.
        patience_seconds: How long the lock is waited for, in seconds.
        read_only: Whether nothing is written, which needs no right to write the lock of a file.

    Raises:
        StorageError: If another process holds the lock for so long.
    """
    with ExitStack() as held:
        if url.drivername == "sqlite":
            _await(url, held.enter_context(_file_lock(url, read_only)), patience_seconds)
        else:
            _await(url, held.enter_context(_server_lock(url)), patience_seconds)
        yield


def _await(url: URL, take: Callable[[], str | None], patience_seconds: float) -> None:
    """Take a lock; `take` returns who holds it, None once it is ours."""
    begun = time.monotonic()
    said: str | None = None
    while (holder := take()) is not None:
        waited_seconds = time.monotonic() - begun
        if waited_seconds > patience_seconds:
            raise StorageError(
                f"the init lock of {shown(url)} must be free within {patience_seconds:.0f} s, "
                f"{holder} holds it: let that process continue (`fg`, `kill -CONT`) or end it"
            )
        if waited_seconds > SAY_AFTER_SECONDS and holder != said:
            said = holder
            logger.warning("waiting for %s, which holds the init lock of %s", said, shown(url))
        time.sleep(POLL_SECONDS)


@contextmanager
def _file_lock(url: URL, read_only: bool) -> Iterator[Callable[[], str | None]]:
    path = sqlite_path(url).resolve()  # two links to one database share the lock
    lock = path.with_name(f".{path.name}.init.lock")
    is_readers = read_only and not is_writable(path)
    if is_readers and not lock.exists():  # no `init` of now makes it there for this user
        yield lambda: None
        return
    descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW) if is_readers else _open_lock(lock)

    def take() -> str | None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.pread(descriptor, 200, 0).decode() or "another process"
        if not is_readers:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, process_label().encode(), 0)
        return None

    try:
        yield take
    finally:
        os.close(descriptor)


def _open_lock(lock: Path) -> int:
    try:
        make_folders(lock.parent)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        share(lock)
    except PermissionError:
        raise AccessDeniedError(
            f"storage.url must lie in a folder that you can write, {lock.parent} is not: "
            f"{describe_obstacle(lock)}"
        ) from None
    except OSError as error:
        raise StorageError(
            f"storage.url must lie in a folder that can be written, {lock.parent} cannot "
            f"({error.strerror}): choose another folder"
        ) from None
    return descriptor


@contextmanager
def _server_lock(url: URL) -> Iterator[Callable[[], str | None]]:
    engine = sqlalchemy.create_engine(url, **engine_options(url, pooled=False))
    prepare_engine(engine, url)
    with engine.connect() as connection:
        try:
            yield lambda: _take_on_server(connection)
        finally:  # the lock ends with its transaction, also where its connection was cut
            with suppress(exc.SQLAlchemyError):
                connection.rollback()


def _take_on_server(connection: Connection) -> str | None:
    if connection.execute(TAKE).one()[1]:
        return None
    holder = connection.execute(HOLDER).scalar()
    connection.rollback()
    return holder or "a session that just ended"
