"""Commands that follow a study while it runs: on a terminal, in a script, in Prometheus."""

import logging
import signal
from functools import partial
from importlib import resources

import click
from rich.console import Console

from dashboards.analysis.status import read_status
from dashboards.servers.prometheus import serve_metrics
from dashboards.servers.prometheus_metrics import StudiesReader, metrics_text, registry_of
from dashboards.terminal.status import status_table
from dashboards.terminal.watch import watch_status
from storage.errors import DatabaseAwayError
from study.commands.options import LOCATION, command, json_option, server_options
from study.commands.output import (
    best_baseline,
    print_json,
    print_rich,
    reject_dumb_terminal,
)
from study.configuration.config import Request
from study.progress import fail, is_terminal, say
from study.session.location import Location
from study.session.session import StudySession, open_session

SHORTEST_SECONDS = 0.2


@command("status", LOCATION)
@json_option
@click.option("--schema", is_flag=True, help="Print the JSON schema of what --json prints.")
@click.option(
    "--watch",
    "watching",
    is_flag=True,
    help="Refresh until the study is done; in a terminal only.",
)
@click.option(
    "--every",
    type=click.FloatRange(min=SHORTEST_SECONDS),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two refreshes of --watch.",
)
def _status(request: Request, as_json: bool, schema: bool, watching: bool, every: float) -> None:
    if schema:
        print(
            resources.files("dashboards.analysis").joinpath("status_schema.json").read_text(),
            end="",
        )
        return
    if watching and (as_json or not is_terminal()):
        what = "a terminal without --json" if as_json else "a terminal, this output is none"
        fail(f"--watch must have {what}: leave it out, and repeat the command when needed", 2)
    if watching:
        reject_dumb_terminal()

    session = open_session(request, reading=True)
    if watching:
        _watch(session, every)
        return
    now = read_status(session.storage_handle, session.protocol.study_name)
    if as_json:
        print_json(now.as_json())
    else:
        print_rich(status_table(now))
        say(str(best_baseline(session)))


def _watch(session: StudySession, every_seconds: float) -> None:
    # The terminal gets its own screen back whichever signal ends this.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The view itself says that the database is away, and retries.
    logging.getLogger("storage").setLevel(logging.ERROR)
    session.storage_handle.database.leave_when(lambda: True)
    watch_status(
        partial(read_status, session.storage_handle, session.protocol.study_name),
        every_seconds=every_seconds,
        footer=str(best_baseline(session)),
        console=Console(),
    )


@command("metrics", LOCATION)
@server_options(9464)
@click.option("--once", is_flag=True, help="Print the metrics and leave, serving nothing.")
def _metrics(request: Request, host: str, port: int, once: bool) -> None:
    place = request.location()
    location = Location(place.storage, outage_seconds=0.0, read_only=True)
    reader = StudiesReader(location.open, name=place.name)
    try:
        reader.read()  # an error here, which else only the log would show
    except DatabaseAwayError as error:
        logging.getLogger(__name__).warning("%s", error)
    registry = registry_of(reader)
    if once:
        print(metrics_text(registry), end="")
    else:
        serve_metrics(registry, host=host, port=port, say=say)
