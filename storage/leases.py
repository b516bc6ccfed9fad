"""Who runs which trial: one lease row for each trial that was ever claimed.

The lease comes first and decides; Optuna's trial state follows it. A worker that dies leaves its
lease behind, and another takes the trial over in place: at once when it can see that the process
is dead (same host), else when the last beat is older than the grace period. Beats use the
database's clock, for the clocks of several machines differ.
"""

import logging
import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from storage.database import Database
from storage.errors import LeaseLostError
from storage.tables import epochs, leases

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owner:
    """A process, told apart from every other one, also after a reboot or a reused number."""

    host: str
    boot: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> "Owner":
        """Return this process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _boot(), pid, _process_start(pid) or "0")

    @classmethod
    def parse(cls, text: str) -> "Owner":
        """Return the owner that `str(owner)` described."""
        host, boot, pid, started = text.rsplit("/", 3)
        return cls(host, boot, int(pid), started)

    def __str__(self) -> str:
        return f"{self.host}/{self.boot}/{self.pid}/{self.started}"

    def is_known_dead(self) -> bool:
        """Return whether this host can tell that the process is gone."""
        if self.host != socket.gethostname() or not _boot():
            return False
        return self.boot != _boot() or _process_start(self.pid) != self.started


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _process_start(pid: int) -> str | None:
    """Return the kernel's start time of a process, None where there is none (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


@dataclass(frozen=True)
class Lease:
    """The right of one owner to run one trial.

    Attributes:
        trial_id: Optuna's row number of the trial.
        owner: `str(Owner)`.
        attempt: 1 for the first claim, one more at each later one.
        fruitless_attempts: Attempts in a row, before this one, that completed no new epoch.
        taken_over: Whether the owner before was lost rather than having given the trial back.
    """

    trial_id: int
    owner: str
    attempt: int
    fruitless_attempts: int = 0
    taken_over: bool = False


def acquire(
    database: Database, trial_id: int, owner: Owner, *, grace_seconds: float
) -> Lease | None:
    """Claim a trial, or take it over from a lost owner.

    Args:
        database: Where the leases are.
        trial_id: Optuna's row number.
        owner: Who claims.
        grace_seconds: Age of a beat, in seconds, after which its owner counts as lost.

    Returns:
        The lease, or None where a live worker holds it. Asking again after a lost answer returns
        the lease that the first call took.
    """

    def claim(connection: Connection) -> Lease | None:
        row = connection.execute(
            select(leases).where(leases.c.trial_id == trial_id).with_for_update()
        ).first()
        now = database.now(connection)
        n_epochs = _epochs_done(connection, trial_id)
        if row is None:
            lease = Lease(trial_id, str(owner), attempt=1)
            connection.execute(leases.insert().values(**_row(lease, n_epochs, now)))
            return lease
        if row.owner == str(owner):
            return Lease(trial_id, row.owner, row.attempt, row.fruitless_attempts)
        lost = row.owner is not None and _is_lost(row, now, grace_seconds)
        if row.owner is not None and not lost:
            return None
        fruitless = row.fruitless_attempts + 1 if lost and n_epochs == row.epochs_at_claim else 0
        lease = Lease(trial_id, str(owner), row.attempt + 1, fruitless, taken_over=lost)
        connection.execute(
            leases.update()
            .where(leases.c.trial_id == trial_id)
            .values(**_row(lease, n_epochs, now))
        )
        return lease

    try:
        return database.write(claim)
    except IntegrityError:  # another worker inserted the same row first
        return None


def _epochs_done(connection: Connection, trial_id: int) -> int:
    count = select(func.count()).select_from(epochs).where(epochs.c.trial_id == trial_id)
    return connection.execute(count).scalar_one()


def _is_lost(row: Row[tuple[object, ...]], now: float, grace_seconds: float) -> bool:
    return now - row.beat_at > grace_seconds or Owner.parse(row.owner).is_known_dead()


def _row(lease: Lease, n_epochs: int, now: float) -> dict[str, object]:
    return {
        "trial_id": lease.trial_id,
        "owner": lease.owner,
        "attempt": lease.attempt,
        "fruitless_attempts": lease.fruitless_attempts,
        "epochs_at_claim": n_epochs,
        "beat_at": now,
    }


def beat(database: Database, lease: Lease) -> bool:
    """Renew a lease; return False when another worker holds the trial now."""

    def renew(connection: Connection) -> bool:
        mine = leases.update().where(
            leases.c.trial_id == lease.trial_id,
            leases.c.owner == lease.owner,
            leases.c.attempt == lease.attempt,
        )
        return connection.execute(mine.values(beat_at=database.now(connection))).rowcount == 1

    return database.write(renew)


def give_back(database: Database, lease: Lease) -> None:
    """Free a trial for any worker; nothing happens when the lease is lost already."""

    def free(connection: Connection) -> None:
        connection.execute(
            leases.update()
            .where(
                leases.c.trial_id == lease.trial_id,
                leases.c.owner == lease.owner,
                leases.c.attempt == lease.attempt,
            )
            .values(owner=None)
        )

    database.write(free)


def owners(database: Database) -> dict[int, tuple[str, float]]:
    """Return owner and age of the last beat in seconds for each held lease, by trial id."""

    def ages(connection: Connection) -> dict[int, tuple[str, float]]:
        now = database.now(connection)
        held = select(leases.c.trial_id, leases.c.owner, leases.c.beat_at)
        rows = connection.execute(held.where(leases.c.owner.is_not(None)))
        return {row.trial_id: (row.owner, now - row.beat_at) for row in rows}

    return database.read(ages)


class Heartbeat:
    """Beats from a thread while a trial runs.

    Args:
        database: Where the leases are.
        lease: The lease to renew.
        seconds: Time between two beats, in seconds.
    """

    def __init__(self, database: Database, lease: Lease, *, seconds: float) -> None:
        self._database = database
        self._lease = lease
        self._seconds = seconds
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=self._seconds)

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds) and not self._lost:
            try:
                self._lost = not beat(self._database, self._lease)
            except SQLAlchemyError as error:  # a longer outage: the next beat asks again
                logger.warning("a beat did not reach the database: %s", type(error).__name__)

    def confirm(self) -> None:
        """Beat now.

        Raises:
            LeaseLostError: If another worker has taken the trial over.
        """
        self._lost = self._lost or not beat(self._database, self._lease)
        if self._lost:
            raise LeaseLostError(
                f"trial {self._lease.trial_id} was taken over by another worker: dropped here"
            )
