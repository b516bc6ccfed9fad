"""Reading and writing our tables as frozen values.

The table `epochs` is the one source for every view; TensorBoard events and CSV files are copies.
"""

import functools
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Insert, Row, Select, func, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.budget import Budget
from storage.database import Database
from storage.errors import StudyNotFoundError
from storage.optuna_rows import put_value
from storage.tables import epochs, protocols

MOST_STREAMED = 500
IMPORTED_FROM = "taken_over_from"
"""User attribute of a finished trial that a fork has from another study: its study and number."""


@dataclass(frozen=True)
class Protocol:
    """What a study fixed before its first trial.

    Attributes:
        study_name: Name of the study.
        study_key: Random key of the study, also left as a marker in its run folder.
        budget: Number of slots of the queue, which grows where the budget counts otherwise.
        configuration: The resolved configuration, as JSON values.
        fingerprint: SHA-256 of the configuration's frozen part.
        facts: What else was found at init: data fingerprint, class names, baselines, versions.
    """

    study_name: str
    budget: int
    configuration: dict[str, Any]
    fingerprint: str
    facts: dict[str, Any]
    study_key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def limit(self) -> Budget:
        """What the study may spend."""
        return Budget.of(self.budget, self.facts)

    @property
    def data_fingerprint(self) -> str:
        """Fingerprint of the data."""
        return str(self.facts["data_fingerprint"])

    @property
    def is_search(self) -> bool:
        """Whether it is that of a search, whose configuration has the study's own name.

        Earlier versions let a search have a name such as those of confirmations.
        """
        return bool(self.configuration.get("name", self.study_name) == self.study_name)

    @property
    def data_source(self) -> str:
        """Where the data came from."""
        return str(self.configuration["data"]["source"])

    @property
    def data_format(self) -> int:
        """How its version identified and decoded data; 1 where an early version created it."""
        return int(self.facts.get("data_format", 1))

    @property
    def origins(self) -> dict[str, str]:
        """Where each split came from, in words; empty where an early version created the study."""
        return dict(self.facts.get("origins", {}))

    @property
    def left_out(self) -> list[dict[str, Any]]:
        """What of the source was not used, as JSON; empty where an early version created it."""
        return list(self.facts.get("left_out", []))

    @property
    def cautions(self) -> list[str]:
        """Why scores on the data tell less than their digits, a line each."""
        return list(self.facts.get("cautions", []))

    @property
    def n_dropped(self) -> int:
        """Number of broken images that were left out."""
        return sum(self.facts["n_dropped"].values())

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.facts["class_names"])

    @property
    def n_validation_classes(self) -> int:
        """Number of classes that have a validation image; at first, every one had to."""
        return int(self.facts.get("n_validation_classes", self.n_classes))

    @property
    def is_of_given_points(self) -> bool:
        """Whether the study trains given points and samples nothing."""
        return bool(self.configuration["search"].get("space") == "given")

    @property
    def threads(self) -> int:
        """CPU threads of each worker."""
        return int(self.configuration["workers"]["threads"])

    @property
    def runs_folder(self) -> str | None:
        """Absolute path of the runs folder; None where an early version created the study."""
        return self.facts.get("runs_folder")

    @property
    def git_revision(self) -> str | None:
        """Commit of the code that created the study; None outside git."""
        return self.facts.get("git_revision")

    @property
    def source_digest(self) -> str | None:
        """Digest of the code that created the study; None where an early version created it."""
        return self.facts.get("source_digest")

    @property
    def versions(self) -> dict[str, str]:
        """Versions of Python and of the packages that created the study."""
        return dict(self.facts["versions"])

    @property
    def forked_from(self) -> dict[str, Any] | None:
        """The study that this one was forked from, with the changes; None for no fork."""
        return self.facts.get("forked_from")


@dataclass(frozen=True)
class EpochRecord:
    """One trained and validated epoch; losses in nats, rates and scores within 0..1.

    Attributes:
        epoch: 1 for the first.
        learning_rate: Of the epoch's last step.
        gradient_norm: Mean over the epoch's steps, before clipping.
        seconds: Duration of training and validation.
        images_per_second: Training images per second of training.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    train_top5_accuracy: float
    train_macro_f1: float
    validation_loss: float
    validation_accuracy: float
    validation_top5_accuracy: float
    validation_macro_f1: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    images_per_second: float


def fingerprint(values: Any) -> str:
    """Return the SHA-256 of JSON values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def add_protocol(database: Database, protocol: Protocol) -> None:
    """Store a protocol; the caller holds the init lock and has seen that there is none."""

    def insert(connection: Connection) -> None:
        mine = select(protocols).where(protocols.c.study_key == protocol.study_key)
        if connection.execute(mine).first() is None:  # else only the answer was lost
            row = asdict(protocol) | {"created_at": database.now(connection)}
            connection.execute(protocols.insert().values(**row))

    database.write(insert)


def find_protocol(database: Database, study_name: str) -> Protocol | None:
    """Return the protocol of a study, None where there is no such study."""
    row = database.read(
        lambda connection: connection.execute(
            select(protocols).where(protocols.c.study_name == study_name)
        ).first()
    )
    if row is None:
        return None
    values = dict(row._mapping)
    del values["created_at"]
    return Protocol(**values)


def read_protocol(database: Database, study_name: str) -> Protocol:
    """Return the protocol of a study.

    Raises:
        StudyNotFoundError: If there is no such study; the message names those that exist.
    """
    protocol = find_protocol(database, study_name)
    if protocol is None:
        raise no_such_study(database, study_name)
    return protocol


def no_such_study(database: Database, study_name: str) -> StudyNotFoundError:
    """Return the error for a name that the database does not have; it names those that exist."""
    known = ", ".join(study_names(database)) or "none"
    return StudyNotFoundError(
        f"name must be a study of this database, got {study_name!r} (there: {known}): "
        "create it with `study init`, or check --name and --storage"
    )


def study_names(database: Database) -> list[str]:
    """Return the names of all studies, oldest first."""
    names = select(protocols.c.study_name).order_by(protocols.c.created_at)
    return list(database.read(lambda connection: connection.execute(names).scalars().all()))


def raise_budget(database: Database, study_name: str, budget: int) -> None:
    """Set the number of trials of a study; the caller holds the init lock."""
    change = protocols.update().where(protocols.c.study_name == study_name).values(budget=budget)
    database.write(lambda connection: connection.execute(change))


def read_budget(connection: Connection, study_name: str) -> Budget:
    """Return the budget of a study."""
    mine = select(protocols.c.budget, protocols.c.facts).where(
        protocols.c.study_name == study_name
    )
    n_trials, facts = connection.execute(mine).one()
    return Budget.of(n_trials, facts)


def raise_amount(connection: Connection, study_name: str, amount: float) -> None:
    """Set a budget of epochs or hours; the caller holds the init lock."""
    mine = protocols.c.study_name == study_name
    wanted = select(protocols.c.facts).where(mine).with_for_update()
    facts = connection.execute(wanted).scalar_one()
    budget = {**facts["budget"], "amount": amount}
    change = protocols.update().where(mine).values(facts={**facts, "budget": budget})
    connection.execute(change)


def put_epoch(connection: Connection, trial_id: int, record: EpochRecord) -> None:
    """Store an epoch, in place of an earlier life's row of the same epoch."""
    row = {"trial_id": trial_id, **asdict(record)}
    connection.execute(_putting_an_epoch(connection.dialect.name), row)


@functools.cache  # composing the statement takes longer than executing it
def _putting_an_epoch(dialect: str) -> Insert:
    insertion = sqlite.insert(epochs) if dialect == "sqlite" else postgresql.insert(epochs)
    new = {column.name: insertion.excluded[column.name] for column in epochs.columns}
    keys = ["trial_id", "epoch"]
    return insertion.on_conflict_do_update(index_elements=keys, set_=new)


def report(connection: Connection, trial_id: int, records: Sequence[EpochRecord]) -> None:
    """Store epochs, and validation macro-F1 of each as Optuna's intermediate value."""
    for record in records:
        put_epoch(connection, trial_id, record)
        put_value(connection, trial_id, record.epoch, record.validation_macro_f1)


def report_resumed(connection: Connection, trial_id: int, records: Sequence[EpochRecord]) -> None:
    """Store every epoch that a resumed trial has, and forget those whose checkpoints were lost.

    They are trained again, and an attempt that does so must not count as fruitless.
    """
    lost = (epochs.c.trial_id == trial_id) & (epochs.c.epoch > len(records))
    connection.execute(epochs.delete().where(lost))
    report(connection, trial_id, records)


def count_epochs(connection: Connection, trial_id: int) -> int:
    """Return how many epochs of a trial are stored."""
    mine = select(func.count()).select_from(epochs).where(epochs.c.trial_id == trial_id)
    return connection.execute(mine).scalar_one()


def read_epochs(database: Database, trial_ids: Sequence[int]) -> dict[int, list[EpochRecord]]:
    """Return the epochs of the given trials in order, by trial id."""
    found: dict[int, list[EpochRecord]] = {}
    for trial_id, rows in stream_epochs(database, trial_ids):
        found[trial_id] = [as_epoch(row) for row in rows]
    return found


def as_epoch(row: Row[Any]) -> EpochRecord:
    """Return a row of the table as an epoch."""
    values: list[Any] = list(row[1:])
    return EpochRecord(*values)


def stream_epochs(
    database: Database, trial_ids: Sequence[int]
) -> Iterator[tuple[int, list[Row[Any]]]]:
    """Yield each of the given trials that has epochs, with their rows in order, some at a time."""
    columns = [epochs.c.trial_id, *(epochs.c[field.name] for field in fields(EpochRecord))]
    for start in range(0, len(trial_ids), MOST_STREAMED):
        some = epochs.c.trial_id.in_(trial_ids[start : start + MOST_STREAMED])
        wanted = select(*columns).where(some).order_by(epochs.c.trial_id, epochs.c.epoch)
        rows = database.read(functools.partial(_all, wanted))
        for trial_id, of_trial in groupby(rows, key=itemgetter(0)):
            yield trial_id, list(of_trial)


def _all(wanted: Select[Any], connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(wanted).all()


def copy_epochs(database: Database, copies: Mapping[int, int]) -> None:
    """Give trials the epochs of others.

    Args:
        database: Where the epochs are.
        copies: Trial id of the copy, by the id of the trial that was run.
    """

    def copy(connection: Connection) -> None:
        connection.execute(epochs.delete().where(epochs.c.trial_id.in_(copies.values())))
        wanted = select(epochs).where(epochs.c.trial_id.in_(copies))
        rows = [dict(row) for row in connection.execute(wanted).mappings()]
        for row in rows:
            row["trial_id"] = copies[row["trial_id"]]
        if rows:
            connection.execute(epochs.insert(), rows)

    database.write(copy)
