"""Servers of what is read: optuna-dashboard and TensorBoard."""

from typing import TYPE_CHECKING

import click

from study.commands.options import command, server_options

if TYPE_CHECKING:
    from study.config import Request


@command
@server_options(8080)
def dashboard(request: "Request", host: str, port: int) -> None:
    """Serve optuna-dashboard on the study's database, read-only."""
    from dashboards.optuna_app import build_dashboard, serve_dashboard
    from study.session import open_session

    session = open_session(request)
    serve_dashboard(build_dashboard(session.storage_handle), host=host, port=port)


@command
@server_options(6006)
@click.option("--all", "all_runs", is_flag=True, help="Every study, and what `study data` drew.")
def tensorboard(request: "Request", host: str, port: int, all_runs: bool) -> None:
    """Serve TensorBoard on the runs of the study."""
    from dashboards.tensorboard_server import serve_tensorboard
    from study.session import open_session

    runs = request.place().storage.runs
    folder = runs if all_runs else open_session(request).paths.folder
    serve_tensorboard(folder, host=host, port=port)
