"""Servers of what is read: optuna-dashboard and TensorBoard."""

from functools import partial

import click

from dashboards.optuna_dashboard.artifacts import RunFiles
from storage.records import read_protocol
from study.commands.options import LOCATION, command, server_options
from study.configuration.config import Request
from study.session.location import Location
from study.session.session import open_session

token_option = click.option(
    "--token",
    envvar="STUDY_DASHBOARD_TOKEN",
    metavar="TOKEN",
    help="What a browser must know; made up where --host is reached from elsewhere.",
)
OUTAGE_SECONDS = 5.0  # a page that is loaded again every few seconds need not wait longer


@command("dashboard", LOCATION)
@server_options(8080)
@token_option
@click.option("--writable", is_flag=True, help="Let the pages change notes and delete studies.")
def _dashboard(request: Request, host: str, port: int, token: str | None, writable: bool) -> None:
    from dashboards.optuna_dashboard.app import build_dashboard, serve_dashboard

    asked = request.location()
    place = asked.storage
    with Location(place, outage_seconds=OUTAGE_SECONDS, read_only=not writable) as location:
        handle = location.open()
        if asked.name:
            read_protocol(handle.database, asked.name)  # rejects a name that does not exist
        app = build_dashboard(handle, RunFiles(place.runs), grace=place.grace_seconds)
        serve_dashboard(app, host=host, port=port, token=token, writable=writable)


@command("tensorboard", LOCATION)
@server_options(6006)
@token_option
@click.option("--all", "all_runs", is_flag=True, help="Every study, and what `study data` drew.")
def _tensorboard(
    request: Request, host: str, port: int, token: str | None, all_runs: bool
) -> None:
    from dashboards.servers.tensorboard import serve_tensorboard
    from dashboards.tensorboard.run_names import name_runs

    place = request.location().storage
    if all_runs:
        serve_tensorboard(place.runs, host=host, port=port, token=token)
        return
    with Location(place, outage_seconds=OUTAGE_SECONDS, read_only=True) as location:
        session = open_session(request, location=location, with_runs=True)
        named = partial(name_runs, location.open(), session.protocol.study_name, session.paths)
        folder = session.paths.folder
        serve_tensorboard(folder, host=host, port=port, token=token, name_runs=named)
