"""Who runs which trial: a lease is an attempt at a trial that has not ended.

The lease comes first and decides; Optuna's trial state follows it. Every attempt keeps its row, so
that what became of a trial can be read later. Heartbeats use the database's clock, for the clocks
of several machines differ. When a worker counts as lost is decided in `storage/lost_workers.py`.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, func, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from storage.database import Database
from storage.errors import LeaseLostError, StorageError
from storage.optuna_rows import is_running, next_waiting, set_running, set_waiting
from storage.process_identity import Owner
from storage.tables import attempts, epochs

T = TypeVar("T")
logger = logging.getLogger(__name__)

LOST = "lost"
ERROR = "error"
"""Ends an attempt after an error that neither configuration nor environment explains."""
RELEASED = "released"
"""Ends an attempt whose environment failed, which counts against no trial."""
JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class Lease:
    """The right of one owner to run one trial.

    Attributes:
        trial_id: Optuna's row number of the trial.
        owner: `str(Owner)`.
        attempt: 1 for the first claim, one more at each later one.
        fruitless_attempts: Attempts in a row, before this one, that were lost or met an error and
            completed no new epoch.
        reclaimed: Whether the owner before was lost; else it released the trial.
    """

    trial_id: int
    owner: str
    attempt: int
    fruitless_attempts: int = 0
    reclaimed: bool = False


@dataclass(frozen=True)
class HeldLease:
    """A lease as others see it.

    Attributes:
        beat_at: Last heartbeat by the database's clock, in seconds since 1970.
        age_seconds: Time since that heartbeat, by the same clock.
    """

    trial_id: int
    attempt: int
    owner: str
    beat_at: float
    age_seconds: float


def acquire_waiting(
    database: Database,
    study_id: int,
    owner: Owner,
    *,
    last: set[int],
    choose: Callable[[Connection], int | None] | None = None,
) -> Lease | None:
    """Claim the first waiting trial of a study and let it run.

    Args:
        database: Where the leases are.
        study_id: Optuna's row number of the study.
        owner: Who claims.
        last: Trials to claim only when nothing else waits.
        choose: Chooses and locks another trial than the first, or none, within the transaction.

    Returns:
        The lease, or None where nothing waits. Idempotent: a retry returns the lease already
        acquired.
    """
    is_repeated = False

    def claim(connection: Connection) -> Lease | None:
        nonlocal is_repeated
        if is_repeated and (mine := _newest_of(connection, owner)) is not None:
            return mine
        is_repeated = True
        trial_id = choose(connection) if choose else next_waiting(connection, study_id, last)
        if trial_id is None:
            return None
        set_running(connection, trial_id)
        newest = _newest(connection, trial_id)
        if newest is not None and newest.ending is None:  # nobody runs what waits
            connection.execute(_open(newest).values(ending=LOST))
        return _insert(database, connection, _next(connection, newest, trial_id, owner))

    try:
        return database.write(claim)
    except IntegrityError:  # another worker inserted the same attempt first
        return None


def acquire(
    database: Database,
    trial_id: int,
    owner: Owner,
    *,
    lost: HeldLease | None = None,
    running: bool = False,
) -> Lease | None:
    """Claim a trial that nobody holds, or reclaim it from a lost worker.

    Args:
        database: Where the leases are.
        trial_id: Optuna's row number.
        owner: Who claims.
        lost: The lease to reclaim, as it was read; it must not have changed since.
        running: Whether to reject a trial that, by now, waits or is finished.

    Returns:
        The lease, or None where another worker holds it. Idempotent: a retry returns the lease
        already acquired.
    """

    def claim(connection: Connection) -> Lease | None:
        # The attempt after the one that is judged here: where another worker was faster, its
        # attempt has the same number, and the insertion fails.
        row = _newest(connection, trial_id)
        held = row if row is not None and row.ending is None else None
        if held is not None and held.owner == str(owner):
            return Lease(trial_id, held.owner, held.attempt, held.fruitless_attempts)
        seen = None if lost is None else (lost.attempt, lost.owner, lost.beat_at)
        if held is not None and (held.attempt, held.owner, held.beat_at) != seen:
            return None
        if running and not is_running(connection, trial_id):
            return None
        if running and _n_attempts(connection, trial_id) != (row.attempt if row else 0):
            return None  # released and claimed since it was read; no more now that it is locked
        if held is not None:
            connection.execute(_open(held).values(ending=LOST))
        return _insert(database, connection, _next(connection, row, trial_id, owner))

    try:
        return database.write(claim)
    except IntegrityError:  # another worker inserted the same attempt first
        return None


def _newest(connection: Connection, trial_id: int) -> Row[Any] | None:
    """Return the newest attempt at a trial, locked until the transaction ends."""
    newest = select(attempts).where(attempts.c.trial_id == trial_id)
    locked = newest.order_by(attempts.c.attempt.desc()).limit(1).with_for_update()
    return connection.execute(locked).first()


def _n_attempts(connection: Connection, trial_id: int) -> int:
    newest = select(func.max(attempts.c.attempt)).where(attempts.c.trial_id == trial_id)
    return connection.execute(newest).scalar() or 0


def _next(connection: Connection, row: Row[Any] | None, trial_id: int, owner: Owner) -> Lease:
    """Return the lease that follows an attempt, which has ended or is being reclaimed."""
    if row is None:
        return Lease(trial_id, str(owner), attempt=1)
    was_lost = row.ending is None or is_lost(row.ending)
    n_epochs = connection.execute(select(_epochs_done(trial_id))).scalar()
    is_fruitless = n_epochs == row.epochs_at_start
    counts = was_lost or row.ending == ERROR
    fruitless = row.fruitless_attempts + counts if is_fruitless else 0
    return Lease(trial_id, str(owner), row.attempt + 1, fruitless, reclaimed=was_lost)


def _newest_of(connection: Connection, owner: Owner) -> Lease | None:
    """Return the lease that an owner holds."""
    held = select(attempts).where(attempts.c.owner == str(owner), attempts.c.ending.is_(None))
    row = connection.execute(held).first()
    if row is None:
        return None
    return Lease(row.trial_id, row.owner, row.attempt, row.fruitless_attempts)


def _insert(database: Database, connection: Connection, lease: Lease) -> Lease:
    connection.execute(
        attempts.insert().values(
            trial_id=lease.trial_id,
            attempt=lease.attempt,
            owner=lease.owner,
            fruitless_attempts=lease.fruitless_attempts,
            epochs_at_start=_epochs_done(lease.trial_id),
            started_at=database.clock,
            beat_at=database.clock,
        )
    )
    return lease


def _epochs_done(trial_id: int) -> Any:
    count = select(func.count()).select_from(epochs).where(epochs.c.trial_id == trial_id)
    return count.scalar_subquery()


def _open(held: Lease | Row[Any]) -> Any:
    """Return an update of an attempt that has not ended."""
    return attempts.update().where(_is_open(held))


def _is_open(held: Lease | Row[Any]) -> ColumnElement[bool]:
    """Return the condition that its owner still holds a lease.

    In a database that was restored, another worker may hold an attempt of the same number.
    """
    same = (attempts.c.trial_id == held.trial_id) & (attempts.c.attempt == held.attempt)
    return same & (attempts.c.owner == held.owner) & attempts.c.ending.is_(None)


def send_heartbeat(database: Database, lease: Lease) -> bool:
    """Renew a lease; return False when another worker holds the trial now."""
    return database.write(lambda connection: renew(database, connection, lease))


def renew(database: Database, connection: Connection, lease: Lease) -> bool:
    """Renew a lease within a transaction; return False when another worker holds the trial."""
    mine = _open(lease)
    return bool(connection.execute(mine.values(beat_at=database.clock)).rowcount == 1)


def is_held(database: Database, lease: Lease) -> bool:
    """Return whether a lease is still ours; nothing is written."""
    found = select(attempts.c.attempt).where(_is_open(lease))
    return database.read(lambda connection: connection.execute(found).first()) is not None


def is_fruitless(database: Database, lease: Lease) -> bool:
    """Return whether an attempt has completed no new epoch."""
    same = (attempts.c.trial_id == lease.trial_id) & (attempts.c.attempt == lease.attempt)
    found = select(attempts.c.epochs_at_start == _epochs_done(lease.trial_id)).where(same)
    return bool(database.read(lambda connection: connection.execute(found).scalar()))


def end(database: Database, lease: Lease, ending: str) -> None:
    """End an attempt and free its trial; nothing happens when the lease is lost already."""
    change = _open(lease).values(ending=ending)
    database.write(lambda connection: connection.execute(change))


def release(database: Database, lease: Lease, ending: str) -> None:
    """End an attempt and release its trial; nothing happens when the lease is lost already."""

    database.write(lambda connection: release_within(connection, lease, ending))


def release_within(connection: Connection, lease: Lease, ending: str) -> None:
    """Do the same within a transaction."""
    mine = _open(lease).values(ending=ending)
    if connection.execute(mine).rowcount == 1:
        set_waiting(connection, lease.trial_id)


def record_death(database: Database, owner: Owner, ending: str) -> list[int]:
    """End the attempts of a process that died, and release the trials that nobody has reclaimed.

    Idempotent: a retry returns the same.

    Returns:
        Optuna's row numbers of the trials.
    """
    died = attempts.c.ending.is_(None) | attempts.c.ending.in_([LOST, ending])
    mine = select(attempts).where(attempts.c.owner == str(owner), died)

    def change(connection: Connection) -> list[int]:
        rows = connection.execute(mine.with_for_update()).all()
        for row in rows:
            same = (attempts.c.trial_id == row.trial_id) & (attempts.c.attempt == row.attempt)
            connection.execute(attempts.update().where(same).values(ending=ending))
            if row.ending is None:
                set_waiting(connection, row.trial_id)
        return [row.trial_id for row in rows]

    return database.write(change)


def is_lost(ending: str | None) -> bool:
    """Return whether an attempt ended with the loss of its worker, by a known signal or not."""
    return ending is not None and ending.startswith(LOST)


def withdraw(database: Database, lease: Lease) -> None:
    """Undo a claim that was no attempt at its trial, and let the trial wait where it runs.

    Nothing happens when the lease is lost.
    """
    mine = _is_open(lease)

    def change(connection: Connection) -> None:
        if connection.execute(attempts.delete().where(mine)).rowcount == 1:
            set_waiting(connection, lease.trial_id)

    database.write(change)


def held_leases(database: Database) -> dict[int, HeldLease]:
    """Return every lease that is held, by trial id."""

    now = database.clock.label("now")
    held = select(attempts, now).where(attempts.c.ending.is_(None)).order_by(attempts.c.attempt)
    rows = database.read(lambda connection: connection.execute(held).all())
    return {
        row.trial_id: HeldLease(
            row.trial_id, row.attempt, row.owner, row.beat_at, row.now - row.beat_at
        )
        for row in rows
    }


def read_endings(database: Database, trial_ids: Sequence[int]) -> dict[int, list[str | None]]:
    """Return how the attempts at each trial ended, in order; None for one that runs."""
    wanted = (
        select(attempts.c.trial_id, attempts.c.ending)
        .where(attempts.c.trial_id.in_(trial_ids))
        .order_by(attempts.c.attempt)
    )
    endings: dict[int, list[str | None]] = defaultdict(list)
    for trial_id, ending in database.read(lambda connection: connection.execute(wanted).all()):
        endings[trial_id].append(ending)
    return dict(endings)


def read_owners(database: Database, trial_ids: Sequence[int]) -> dict[int, set[Owner]]:
    """Return who has ever held each trial."""
    wanted = select(attempts.c.trial_id, attempts.c.owner)
    wanted = wanted.where(attempts.c.trial_id.in_(trial_ids))
    owners: dict[int, set[Owner]] = defaultdict(set)
    for trial_id, owner in database.read(lambda connection: connection.execute(wanted).all()):
        owners[trial_id].add(Owner.parse(owner))
    return dict(owners)


def reject_other_machines(database: Database, held: Sequence[HeldLease], *, grace: float) -> None:
    """Reject a SQLite database that other machines use: its file locks do not reach so far.

    Args:
        database: Where the leases are.
        held: The leases in it.
        grace: Age of a heartbeat, in seconds, after which it is no sign of life.

    Raises:
        StorageError: If a SQLite database holds a recent heartbeat of another machine.
    """
    if database.engine.dialect.name != "sqlite":
        return
    for lease in held:
        owner = Owner.parse(lease.owner)
        age_seconds = lease.age_seconds
        if age_seconds < grace and owner.is_on_another_machine(heartbeat_age_seconds=age_seconds):
            raise StorageError(
                f"storage.url must be PostgreSQL for several machines, a worker on another one "
                f"({owner.host}) sent a heartbeat to this SQLite file {age_seconds:.0f} s ago: "
                "work there only, or use --storage postgresql+psycopg://USER@HOST/NAME"
            )


class Heartbeat:
    """Renews a lease from a thread while a trial runs.

    Args:
        database: Where the leases are.
        lease: The lease to renew.
        seconds: Time between two heartbeats, in seconds.
        between: Called after each heartbeat, whether it arrived or not.
    """

    def __init__(
        self, database: Database, lease: Lease, *, seconds: float, between: Callable[[], object]
    ) -> None:
        self._database = database
        self._lease = lease
        self._seconds = seconds
        self._between = between
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=JOIN_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds) and not self._lost:
            try:
                self._lost = not send_heartbeat(self._database, self._lease)
                self._between()
            except SQLAlchemyError as error:  # a longer outage: the next heartbeat retries
                logger.warning("a heartbeat did not reach the database: %s", type(error).__name__)
            except StorageError:  # said by the worker, which meets it at its next transaction
                return

    @property
    def lease(self) -> Lease:
        """The lease that is renewed."""
        return self._lease

    def within(self, work: Callable[[Connection], T]) -> T:
        """Do `work` and renew the lease in one transaction, or neither; return what it returns.

        Raises:
            LeaseLostError: If another worker has reclaimed the trial.
        """

        def guarded(connection: Connection) -> T:
            if not renew(self._database, connection, self._lease):
                self._reject()
            return work(connection)

        return self._database.write(guarded)

    def confirm(self) -> None:
        """Ask the database whether the lease is still ours.

        Raises:
            LeaseLostError: If another worker has reclaimed the trial.
        """
        if self._lost or not is_held(self._database, self._lease):
            self._reject()

    def _reject(self) -> NoReturn:
        self._lost = True
        raise LeaseLostError("another worker has reclaimed the trial: it is dropped here")
