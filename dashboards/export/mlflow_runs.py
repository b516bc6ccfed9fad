"""The trials of a study as runs of MLflow: one experiment a study, one run a trial.

MLflow is an extra, and imported only while an export runs. Repeating an export adds what is new: a
run is found again by a tag, and an epoch of it by its step.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dashboards.errors import DashboardError
from storage.configuration import shown_url
from storage.database import is_database_error, reason_of
from storage.records import IMPORTED_FROM, EpochRecord, Protocol
from storage.trial_records import TrialRecord
from storage.trial_rows import FINISHED

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Metric, Run

T = TypeVar("T")
logger = logging.getLogger(__name__)

KEY_TAG = "study.key"
TRIAL_TAG = "study.trial"
STATE_TAG = "study.state"
"""Written last: a run that has it with a final state is complete."""
STATUSES = {
    "running": "RUNNING",
    "paused": "RUNNING",
    "complete": "FINISHED",
    "pruned": "KILLED",
    "failed": "FAILED",
}
LAST_METRIC = "validation_macro_f1"
"""Of each epoch it is sent last: a step that has it has all."""
METRICS = (
    *(field.name for field in fields(EpochRecord) if field.name not in ("epoch", LAST_METRIC)),
    LAST_METRIC,
)
BEST_METRIC = f"best_{LAST_METRIC}"
MOST_METRICS, MOST_PARAMS = 900, 100
"""In one request; MLflow accepts 100 parameters, and 1000 values of all kinds."""
RUNS_PER_PAGE = 1000


@dataclass(frozen=True)
class ExportedRuns:
    """What an export to MLflow has done.

    Attributes:
        experiment: Name of the experiment.
        uri: Where it is, without a password.
        n_new: Runs that were added.
        n_updated: Runs of unfinished trials, or of a cut-off export, that were continued.
        n_complete: Runs that were complete already.
        n_waiting: Trials that nobody has begun, which have no run.
    """

    experiment: str
    uri: str
    n_new: int
    n_updated: int
    n_complete: int
    n_waiting: int


def export_runs(
    records: Iterable[TrialRecord], protocol: Protocol, uri: str | None
) -> ExportedRuns:
    """Add the trials of a study to MLflow, and continue the runs that are there.

    Args:
        records: The trials.
        protocol: Of the study; its key finds the experiment again, whatever its name is by then.
        uri: MLflow's tracking URI; None: as MLflow chooses, `MLFLOW_TRACKING_URI` first.

    Raises:
        DashboardError: If MLflow is missing, does not answer or rejects something.
    """
    client, uri = _open_client(uri)
    counts = dict.fromkeys(("new", "updated", "complete", "waiting"), 0)
    with _one_line_errors(uri):
        experiment_id, name = _open_experiment(client, protocol)
        runs = {run.data.tags.get(TRIAL_TAG): run for run in _read_runs(client, experiment_id)}
        for record in records:
            run = runs.get(str(record.row.number))
            counts[_export_run(client, experiment_id, record, run)] += 1
    return ExportedRuns(name, shown_url(uri), *counts.values())


def folder_uri(folder: Path) -> str:
    """Return the URI of MLflow's file store in a folder."""
    return folder.resolve().as_uri()


def _open_client(uri: str | None) -> tuple["MlflowClient", str]:
    # MLflow reads these when it is imported; nothing but its own store is to hear of the study.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    # A quarter of a minute, not four, for a server that is not there.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    # A database that is not there is tried ten times.
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
    try:
        import mlflow
    except ImportError:
        raise DashboardError(
            "--to mlflow must have MLflow, it is not installed here: "
            "add it with `pip install '.[mlflow]'`, or write a .parquet or .csv file"
        ) from None
    uri = uri or mlflow.get_tracking_uri()
    if uri.startswith("file:"):
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    _reject_unusable_file(uri)
    with _one_line_errors(uri):
        return mlflow.MlflowClient(tracking_uri=uri), uri


def _reject_unusable_file(uri: str) -> None:
    """Reject a SQLite file that cannot be opened, before MLflow retries it for two minutes."""
    scheme, _, rest = uri.partition(":///")
    path = rest.partition("?")[0]
    if scheme.partition("+")[0] != "sqlite" or path in ("", ":memory:") or path[:5] == "file:":
        return
    file = Path(path).absolute()
    # MLflow creates missing folders, but only where no driver is named.
    parents = file.parents if scheme == "sqlite" else [file.parent]
    folder = next((one for one in parents if os.path.exists(one)), file.parent)
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
        reason = f"{folder} is no folder that can be written"
    elif os.path.isdir(file):
        reason = "it is a folder"
    elif os.path.exists(file) and not os.access(file, os.R_OK | os.W_OK):
        reason = "the file cannot be read and written"
    else:
        return
    raise DashboardError(
        f"--to mlflow must name a database that can be opened, {shown_url(uri)} cannot "
        f"({reason}): choose another file, or change the rights"
    )


class _RetryNotices(logging.Filter):
    """Says in one line of our own that MLflow retries a database, and hides its lines."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self._uri = uri

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        for error in arguments:
            if isinstance(error, Exception):
                shown = shown_url(self._uri)
                reason = reason_of(error).replace(self._uri, shown)
                logger.warning("%s does not open (%s); retried for two minutes", shown, reason)
        return record.levelno >= logging.ERROR


@contextmanager
def _notices_of_retries(uri: str) -> Iterator[None]:
    # MLflow warns of them, but in many lines, and below the level that is set here.
    source, notices = logging.getLogger("mlflow.store.db.utils"), _RetryNotices(uri)
    level = source.level
    source.addFilter(notices)
    source.setLevel(logging.WARNING)
    try:
        yield
    finally:
        source.setLevel(level)
        source.removeFilter(notices)


@contextmanager
def _one_line_errors(uri: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        with _notices_of_retries(uri):
            yield
    except Exception as error:
        if not (isinstance(error, MlflowException | OSError) or is_database_error(error)):
            raise
        reason = reason_of(error).replace(uri, shown_url(uri))
        raise DashboardError(
            f"--to mlflow must name a store that accepts runs, {shown_url(uri)} does not "
            f"({reason}): check the address and its rights, then repeat the command"
        ) from error


def _open_experiment(client: "MlflowClient", protocol: Protocol) -> tuple[str, str]:
    """Return id and name of the study's experiment, created where there is none."""
    from mlflow.entities import ViewType

    mine = f"tags.`{KEY_TAG}` = '{protocol.study_key}'"
    found = client.search_experiments(view_type=ViewType.ALL, filter_string=mine)
    for experiment in sorted(found, key=_is_deleted):
        if _is_deleted(experiment):
            remedy = "restore it there with `mlflow experiments restore`"
            raise _in_trash(experiment, "of this study", remedy)
        return experiment.experiment_id, experiment.name
    name = protocol.study_name
    other = client.get_experiment_by_name(name)
    if other is not None and _is_deleted(other):
        raise _in_trash(other, "of this name", "restore and rename it there")
    if other is not None:
        raise DashboardError(
            f"--to mlflow must name a store without another experiment {name!r}, it has one "
            "that is not of this study: rename that one there, or export to another store"
        )
    tags = {
        KEY_TAG: protocol.study_key,
        "study.data_source": protocol.data_source,
        "study.data_fingerprint": protocol.data_fingerprint,
        "study.fingerprint": protocol.fingerprint,
    }
    return client.create_experiment(name, tags=tags), name


def _is_deleted(experiment: "Experiment") -> bool:
    return bool(experiment.lifecycle_stage == "deleted")


def _in_trash(experiment: "Experiment", which: str, remedy: str) -> DashboardError:
    return DashboardError(
        f"--to mlflow must name a store whose experiment {which} is not deleted, "
        f"{experiment.name!r} (ID {experiment.experiment_id}) is in its trash: {remedy}, "
        "or delete it for good with `mlflow gc`"
    )


def _read_runs(client: "MlflowClient", experiment_id: str) -> Iterator["Run"]:
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=RUNS_PER_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _export_run(
    client: "MlflowClient", experiment_id: str, record: TrialRecord, run: "Run | None"
) -> str:
    """Bring the run of a trial up to date, and return what it was before."""
    row, is_new = record.row, run is None
    if row.state not in STATUSES:
        return "waiting"
    if run is None:
        run = client.create_run(
            experiment_id,
            start_time=_started_ms(record),
            tags={TRIAL_TAG: str(row.number)},
            run_name=f"trial {row.number}",
        )
    elif row.state in FINISHED and run.data.tags.get(STATE_TAG) == row.state:
        return "complete"
    run_id = run.info.run_id
    history = [] if is_new else client.get_metric_history(run_id, LAST_METRIC)
    metrics = _metrics(record, {metric.step for metric in history})
    if row.state in FINISHED and BEST_METRIC not in run.data.metrics:
        metrics += _best_metric(record)
    _log(client, run_id, record, metrics)
    if row.state in FINISHED:
        client.set_terminated(run_id, STATUSES[row.state], end_time=_ended_ms(record))
    client.set_tag(run_id, STATE_TAG, row.state)
    return "new" if is_new else "updated"


def _log(
    client: "MlflowClient", run_id: str, record: TrialRecord, metrics: Sequence["Metric"]
) -> None:
    from mlflow.entities import Param, RunTag

    params = [Param(name, str(value)) for name, value in record.row.params.items()]
    tags = [RunTag(key, str(value)) for key, value in _tags(record).items()]
    for some, few in zip_longest(
        _batches(metrics, MOST_METRICS), _batches(params, MOST_PARAMS), fillvalue=()
    ):
        client.log_batch(run_id, metrics=some, params=few)
    client.log_batch(run_id, tags=tags)


def _batches(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _metrics(record: TrialRecord, steps: set[int]) -> list["Metric"]:
    """Return the metrics of the epochs that are not among the steps of a run."""
    from mlflow.entities import Metric

    return [
        Metric(name, getattr(epoch, name), ended_ms, epoch.epoch)
        for epoch, ended_ms in zip(record.epochs, _epoch_ends_ms(record), strict=True)
        if epoch.epoch not in steps
        for name in METRICS
    ]


def _best_metric(record: TrialRecord) -> list["Metric"]:
    from mlflow.entities import Metric

    return [
        Metric(BEST_METRIC, epoch.validation_macro_f1, ended_ms, epoch.epoch)
        for epoch, ended_ms in zip(record.epochs, _epoch_ends_ms(record), strict=True)
        if epoch.epoch == record.row.best_epoch
    ]


def _epoch_ends_ms(record: TrialRecord) -> list[int]:
    """Return when each epoch ended, as if no time had passed between them: none is recorded."""
    begin = _started_ms(record) or 0
    return [
        begin + int(total * 1000) for total in accumulate(one.seconds for one in record.epochs)
    ]


def _started_ms(record: TrialRecord) -> int | None:
    return None if record.started_at is None else int(record.started_at.timestamp() * 1000)


def _ended_ms(record: TrialRecord) -> int | None:
    return None if record.ended_at is None else int(record.ended_at.timestamp() * 1000)


def _tags(record: TrialRecord) -> dict[str, Any]:
    row = record.row
    origin = row.attributes.get(IMPORTED_FROM, {})
    values = {
        "study.slot": row.slot,
        "study.best_epoch": row.best_epoch,
        "study.reason": (row.reason or {}).get("message"),
        "study.host": row.host,
        "study.imported_from": f"{origin['study']}, trial {origin['trial']}" if origin else None,
        **{
            f"study.{name}": row.attributes.get(name)
            for name in ("seed", "device", "n_parameters", "git_revision", "label")
        },
    }
    return {key: value for key, value in values.items() if value is not None}
