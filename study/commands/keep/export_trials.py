"""The command that hands trials and epochs to other programs. Only reads the study."""

from pathlib import Path

import click

from storage.trial_records import stream_trial_records
from study.commands.options import LOCATION, GivenPath, command
from study.configuration.config import Request
from study.errors import StudyError
from study.progress import say, track
from study.session.session import StudySession, open_session

MLFLOW = "mlflow"
FILE_TYPES = (".parquet", ".csv")


@command("export-trials", LOCATION)
@click.option(
    "--to",
    "target",
    required=True,
    type=GivenPath(),
    metavar="TARGET",
    help="FILE.parquet, FILE.csv, mlflow, mlflow:FOLDER or mlflow:TRACKING_URI.",
)
def _export_trials(request: Request, target: str) -> None:
    kind, _, where = target.partition(":")
    if kind != MLFLOW and Path(target).suffix not in FILE_TYPES:
        raise StudyError(
            f"--to must be FILE.parquet, FILE.csv, mlflow, mlflow:FOLDER or mlflow:TRACKING_URI, "
            f"got {target!r}: give one of these"
        )
    session = open_session(request, reading=True)
    if kind == MLFLOW:
        _to_mlflow(session, where)
    else:
        _to_files(session, Path(target))


def _to_files(session: StudySession, path: Path) -> None:
    from dashboards.export.files import write_tables

    name, handle = session.protocol.study_name, session.storage_handle
    written = write_tables(stream_trial_records(handle, name), path)
    say(f"trials ({written.n_trials}): {written.trials}")
    say(f"epochs ({written.n_epochs}): {written.epochs}")


def _to_mlflow(session: StudySession, where: str) -> None:
    from dashboards.export.mlflow_runs import export_runs, folder_uri

    uri = None if not where else where if "://" in where else folder_uri(Path(where))
    name, handle = session.protocol.study_name, session.storage_handle
    n_trials = sum(session.count_states().values())
    records = track(stream_trial_records(handle, name), "trials", n_trials, 1)
    done = export_runs(records, session.protocol, uri)
    say(
        f"experiment {done.experiment!r} of {done.uri}: runs added: {done.n_new}, "
        f"continued: {done.n_updated}, complete before: {done.n_complete}; "
        f"waiting trials, without a run: {done.n_waiting}"
    )
    if done.uri.startswith("file:"):
        say("MLflow opens a file store with MLFLOW_ALLOW_FILE_STORE=true in the environment")
