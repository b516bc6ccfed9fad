"""Metrics of studies for Prometheus, read from their database at each scrape.

Workers need no open port. Only what runs has labels of its own, so the number of series stays
bounded. Must not import torch.
"""

import logging
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dashboards.analysis.status import StudyStatus, read_status
from dashboards.analysis.timed_read import TimedReader
from storage.errors import StorageError, StudyNotFoundError
from storage.records import read_protocol, study_names
from storage.study_names import names_of_all
from storage.study_storage import StudyStorage
from storage.trial_rows import ALL_STATES, STATE_NAMES

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""Below the 10 s that Prometheus waits for an answer by default."""


class StudiesReader:
    """Reads the status of all studies of a database, or of one and its final runs.

    Args:
        opening: Opens the database; called until it succeeds.
        name: Name of the study; None: all of them.
    """

    def __init__(self, opening: Callable[[], StudyStorage], *, name: str | None = None) -> None:
        self._opening = opening
        self._name = name
        self._storage: StudyStorage | None = None
        self._deleted: set[str] = set()

    def read(self) -> list[StudyStatus]:
        """Return the status of every study, the oldest first.

        Raises:
            StudyNotFoundError: If there is no study of that name.
            StorageError: If the database cannot be opened.
        """
        storage = self._opened()
        statuses = []
        for name in self._names(storage):
            try:
                statuses.append(read_status(storage, name))
            except StudyNotFoundError:
                if name == self._name:
                    raise
                self._warn_once(name)
        return statuses

    def _warn_once(self, name: str) -> None:
        if name not in self._deleted:
            logger.warning("study %s was deleted, save for its protocol: it has no metrics", name)
        self._deleted.add(name)

    def _opened(self) -> StudyStorage:
        if self._storage is None:
            self._storage = self._opening()
            self._storage.database.leave_when(lambda: True)  # the next scrape retries
        return self._storage

    def _names(self, storage: StudyStorage) -> list[str]:
        names = study_names(storage.database)
        if self._name is None:
            return names
        read_protocol(storage.database, self._name)  # rejects an unknown name
        return [name for name in names if name in names_of_all(self._name)]


class StudyCollector(Collector):
    """Turns statuses into metrics; one of them says whether the database answers.

    Args:
        read: Reads the status of every study once.
    """

    def __init__(self, read: Callable[[], list[StudyStatus]]) -> None:
        self._reader = TimedReader(read)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every metric, at each scrape."""
        try:
            statuses = self._reader.read(PATIENCE_SECONDS)
        except StudyNotFoundError as error:
            logger.warning("%s", error)
            statuses = []
        except StorageError as error:
            logger.warning("the database is away: %s", error)
            statuses = None
        yield GaugeMetricFamily(
            "study_database_up",
            "Whether the studies' database answered: 1 or 0.",
            value=float(statuses is not None),
        )
        families = {
            name: GaugeMetricFamily(name, text, labels=("study", *labels))
            for name, (text, labels) in METRICS.items()
        }
        for status in statuses or ():
            for name, labels, number in _samples(status):
                if number is not None:
                    families[name].add_metric((status.study_name, *labels), float(number))
        yield from families.values()


def registry_of(reader: StudiesReader) -> CollectorRegistry:
    """Return a registry of these metrics and nothing else."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StudyCollector(reader.read))
    return registry


def metrics_text(registry: CollectorRegistry) -> str:
    """Return the metrics as node_exporter's textfile collector reads them."""
    return generate_latest(registry).decode()


TRIAL = ("trial",)
METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "study_trials": ("Trials of the study's budget by state.", ("state",)),
    "study_early_ends": (
        "Trials that were pruned or failed, by the kind of reason.",
        ("state", "reason"),
    ),
    "study_budget_trials": (
        "Trials of the whole study; where its budget counts epochs or hours, those queued so far.",
        (),
    ),
    "study_budget": ("Budget of the study: trials, epochs or worker-hours.", ("unit",)),
    "study_budget_spent": (
        "What of it is spent: trials that are over, recorded epochs, or the hours they took.",
        ("unit",),
    ),
    "study_taken_over_trials": (
        "Finished trials imported from another study: part of the search, not of the budget.",
        (),
    ),
    "study_lost_attempts": ("How often a worker was lost with its trial.", ()),
    "study_best_macro_f1": ("Validation macro-F1 of the best complete trial, 0 to 1.", ()),
    "study_confirmed_macro_f1": (
        "Mean macro-F1 of the winner's confirmation, with fresh seeds, 0 to 1.",
        (),
    ),
    "study_winner_is_better": (
        "Whether the confirmation calls the winner better than the configured values: 1 or 0.",
        (),
    ),
    "study_confirmation_runs": (
        "Runs of the confirmation by state; they are no trials of the study.",
        ("state",),
    ),
    "study_recorded_epochs": (
        "Epochs of all trials so far; a study that adds none has stalled.",
        (),
    ),
    "study_last_epoch_timestamp_seconds": (
        "About when the newest epoch was recorded, in seconds since 1970; early by what its "
        "trial spent besides epochs, while it runs.",
        (),
    ),
    "study_images_per_second": (
        "Training images per second, summed over the active workers, by their newest epochs.",
        (),
    ),
    "study_spent_seconds": ("Time of all recorded epochs, summed over workers.", ()),
    "study_remaining_seconds": (
        "Estimated time until the budget is spent with as many workers as now.",
        (),
    ),
    "study_running_epoch": ("Epochs that a running trial has.", TRIAL),
    "study_running_macro_f1": (
        "Validation macro-F1 of the newest epoch of a running trial, 0 to 1.",
        TRIAL,
    ),
    "study_running_remaining_seconds": (
        "Estimated time until a running trial whose worker is alive has all its epochs, unless "
        "it is pruned.",
        TRIAL,
    ),
    "study_heartbeat_age_seconds": (
        "Time since the last heartbeat of the worker that runs a trial.",
        ("trial", "worker"),
    ),
}
"""Help text and labels besides `study`, by name; names have base units, as Prometheus wants."""


def _samples(status: StudyStatus) -> Iterator[tuple[str, tuple[str, ...], float | None]]:
    """Yield name, values of the labels, and number; None where it is unknown."""
    for state in ALL_STATES:
        yield "study_trials", (state,), getattr(status, state)
    for reason in status.reasons:
        yield "study_early_ends", (reason.state, reason.kind), reason.count
    yield "study_budget_trials", (), status.budget
    yield "study_budget", (status.spending.unit,), status.spending.amount
    yield "study_budget_spent", (status.spending.unit,), status.spending.spent
    yield "study_taken_over_trials", (), status.taken_over
    yield "study_lost_attempts", (), status.lost_attempts
    yield "study_best_macro_f1", (), status.best.value if status.best else None
    yield from _confirmation_samples(status)
    yield "study_recorded_epochs", (), status.recorded_epochs
    yield "study_last_epoch_timestamp_seconds", (), status.newest_epoch_at
    yield "study_images_per_second", (), status.images_per_second
    yield "study_spent_seconds", (), status.seconds_spent
    yield "study_remaining_seconds", (), status.seconds_remaining
    for trial in status.running_trials:
        number = str(trial.number)
        yield "study_running_epoch", (number,), trial.epoch
        yield "study_running_macro_f1", (number,), trial.validation_macro_f1
        yield "study_running_remaining_seconds", (number,), trial.seconds_left
        worker = f"{trial.host}:{trial.pid}"
        yield "study_heartbeat_age_seconds", (number, worker), trial.beat_age_seconds


def _confirmation_samples(
    status: StudyStatus,
) -> Iterator[tuple[str, tuple[str, ...], float | None]]:
    found = status.confirmation
    if found is None:
        return
    yield "study_confirmed_macro_f1", (), found.confirmed_score
    yield "study_winner_is_better", (), found.is_better
    for state in STATE_NAMES.values():
        yield "study_confirmation_runs", (state,), sum(run.state == state for run in found.runs)
