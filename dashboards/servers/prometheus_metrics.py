"""Metrics of studies for Prometheus, read from their database at each scrape.

Workers need no open port. Only what runs has labels of its own, so the number of series stays
bounded. Must not import torch.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dashboards.analysis.status import RunningTrial, StudyStatus, read_status
from dashboards.analysis.timed_read import Lookout
from storage.errors import StorageError, StudyNotFoundError
from storage.records import read_protocol, study_names
from storage.run_paths import FINAL_SUFFIX
from storage.study_storage import StudyStorage
from storage.trial_rows import STATE_NAMES

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""Below the 10 s that Prometheus waits for an answer by default."""

Series = Iterable[tuple[tuple[str, ...], float | None]]


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
        """Return where every study stands now, the oldest first.

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
                self._tell_once(name)
        return statuses

    def _tell_once(self, name: str) -> None:
        if name not in self._deleted:
            logger.warning("study %s was deleted, save for its protocol: it has no metrics", name)
        self._deleted.add(name)

    def _opened(self) -> StudyStorage:
        if self._storage is None:
            self._storage = self._opening()
            self._storage.database.leave_when(lambda: True)  # the next scrape asks again
        return self._storage

    def _names(self, storage: StudyStorage) -> list[str]:
        names = study_names(storage.database)
        if self._name is None:
            return names
        read_protocol(storage.database, self._name)  # refuses a name that is not there
        return [name for name in names if name in (self._name, self._name + FINAL_SUFFIX)]


class StudyCollector(Collector):
    """Makes metrics of what a reader finds; says that the database is away where it is.

    Args:
        read: Reads the status of every study once.
    """

    def __init__(self, read: Callable[[], list[StudyStatus]]) -> None:
        self._lookout = Lookout(read)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every metric, as Prometheus' client asks for at each scrape."""
        try:
            statuses = self._lookout.look(PATIENCE_SECONDS)
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
        yield from (metric.family(statuses or ()) for metric in METRICS)


def registry_of(reader: StudiesReader) -> CollectorRegistry:
    """Return a registry of these metrics and nothing else."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StudyCollector(reader.read))
    return registry


def metrics_text(registry: CollectorRegistry) -> str:
    """Return the metrics as node_exporter's textfile collector reads them."""
    return generate_latest(registry).decode()


@dataclass(frozen=True)
class Metric:
    """A gauge with a series for each study, or several.

    Attributes:
        name: By Prometheus' rules: base units, named last.
        text: What it means, for its HELP line.
        series: Values of the labels besides `study`, with the number; None where it is unknown,
            which has no sample.
        labels: Names of the labels besides `study`.
    """

    name: str
    text: str
    series: Callable[[StudyStatus], Series]
    labels: tuple[str, ...] = ()

    def family(self, statuses: Sequence[StudyStatus]) -> GaugeMetricFamily:
        """Return the samples of every study."""
        family = GaugeMetricFamily(self.name, self.text, labels=("study", *self.labels))
        for status in statuses:
            for values, number in self.series(status):
                if number is not None:
                    family.add_metric((status.study_name, *values), float(number))
        return family


def _by_state(status: StudyStatus) -> Series:
    return [((state,), getattr(status, state)) for state in STATE_NAMES.values()]


def _by_reason(status: StudyStatus) -> Series:
    return [((each.state, each.kind), each.count) for each in status.reasons]


def _heartbeats(status: StudyStatus) -> Series:
    return [
        ((str(trial.number), f"{trial.host}:{trial.pid}"), trial.beat_age_seconds)
        for trial in status.running_trials
    ]


def _one(value: Callable[[StudyStatus], float | None]) -> Callable[[StudyStatus], Series]:
    return lambda status: [((), value(status))]


def _each(value: Callable[[RunningTrial], float | None]) -> Callable[[StudyStatus], Series]:
    return lambda status: [((str(one.number),), value(one)) for one in status.running_trials]


METRICS = (
    Metric("study_trials", "Trials of the study's budget by state.", _by_state, ("state",)),
    Metric(
        "study_early_ends",
        "Trials that were pruned or failed, by the kind of reason.",
        _by_reason,
        ("state", "reason"),
    ),
    Metric("study_budget_trials", "Trials of the whole study.", _one(lambda s: s.budget)),
    Metric(
        "study_taken_over_trials",
        "Finished trials of another study that count for the search, not for the budget.",
        _one(lambda s: s.taken_over),
    ),
    Metric(
        "study_lost_attempts",
        "How often a worker was lost with its trial.",
        _one(lambda s: s.lost_attempts),
    ),
    Metric(
        "study_best_macro_f1",
        "Validation macro-F1 of the best complete trial, 0 to 1.",
        _one(lambda s: s.best.value if s.best else None),
    ),
    Metric(
        "study_recorded_epochs",
        "Epochs of all trials so far; a study in which none is added has stalled.",
        _one(lambda s: s.recorded_epochs),
    ),
    Metric(
        "study_last_epoch_timestamp_seconds",
        "About when the newest epoch was recorded, in seconds since 1970; early by what its "
        "trial spent besides epochs, while it runs.",
        _one(lambda s: s.newest_epoch_at),
    ),
    Metric(
        "study_images_per_second",
        "Training images per second, summed over the workers at work, by their newest epochs.",
        _one(lambda s: s.images_per_second),
    ),
    Metric(
        "study_spent_seconds",
        "Time of all recorded epochs, summed over workers.",
        _one(lambda s: s.seconds_spent),
    ),
    Metric(
        "study_remaining_seconds",
        "Estimated time until the budget is done with as many workers as now.",
        _one(lambda s: s.seconds_remaining),
    ),
    Metric(
        "study_running_epoch",
        "Epochs that a running trial has.",
        _each(lambda trial: trial.epoch),
        ("trial",),
    ),
    Metric(
        "study_running_macro_f1",
        "Validation macro-F1 of the newest epoch of a running trial, 0 to 1.",
        _each(lambda trial: trial.validation_macro_f1),
        ("trial",),
    ),
    Metric(
        "study_running_remaining_seconds",
        "Estimated time until a running trial whose worker is alive has all its epochs, "
        "should it not be pruned.",
        _each(lambda trial: trial.seconds_left),
        ("trial",),
    ),
    Metric(
        "study_heartbeat_age_seconds",
        "Time since the last sign of life of the worker that has a running trial.",
        _heartbeats,
        ("trial", "worker"),
    ),
)
