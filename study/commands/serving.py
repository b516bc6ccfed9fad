"""Servers of what is read: optuna-dashboard and TensorBoard."""

import sys
from typing import TYPE_CHECKING

import click

from study.commands.options import command, server_options

if TYPE_CHECKING:
    from study.config import Request


@command
@server_options(8080)
def dashboard(request: "Request", host: str, port: int) -> None:
    """Serve optuna-dashboard on the study's database, read-only."""
    from dashboards.artifacts import RunFiles
    from dashboards.optuna_app import build_dashboard, serve_dashboard
    from study.session import open_session

    session = open_session(request)
    app = build_dashboard(session.storage_handle, RunFiles(session.config.storage.runs))
    serve_dashboard(app, host=host, port=port)


@command
@server_options(6006)
@click.option("--all", "all_runs", is_flag=True, help="Every study, and what `study data` drew.")
def tensorboard(request: "Request", host: str, port: int, all_runs: bool) -> None:
    """Serve TensorBoard on the runs of the study."""
    from dashboards.tensorboard import serve_tensorboard
    from study.session import open_session

    runs = request.place().storage.runs
    folder = runs if all_runs else open_session(request).paths.folder
    sys.exit(serve_tensorboard(folder, host=host, port=port))
