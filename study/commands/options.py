"""The groups of options that commands share, and what makes a command of a function."""

import functools
import os
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import click

from study.commands import HELP
from study.configuration.config import Request
from study.configuration.given_values import expand_home
from study.session.group_rule import follow_group_rule

Option = Callable[[Any], Any]


class GivenPath(click.ParamType[str]):
    """A path, or a text that may name one; `~` in it is the home folder."""

    name = "path"

    def convert(self, value: Any, *_: Any) -> str:
        """Return the text with the home folder in the place of `~`."""
        return expand_home(os.fspath(value))


class GivenFile(click.Path):
    """A path of a file or folder; `~` in it is the home folder."""

    def convert(self, value: Any, *context: Any) -> Any:
        """Return the path with the home folder in the place of `~`."""
        return super().convert(expand_home(os.fspath(value)), *context)


CONFIGURATION = (
    click.option("--preset", metavar="NAME", help="A preset: `study config` lists them."),
    click.option("--config", type=GivenFile(path_type=Path), help="YAML file with settings."),
    click.option(
        "--set", "sets", multiple=True, metavar="KEY=VALUE", help="A setting; repeatable."
    ),
)
DATABASE = (
    click.option(
        "--storage",
        type=GivenPath(),
        envvar="STUDY_STORAGE",
        metavar="URL",
        help="Database of the study.",
    ),
    click.option(
        "--runs",
        type=GivenPath(),
        envvar="STUDY_RUNS",
        metavar="FOLDER",
        help="Folder of all runs.",
    ),
)
LOCATION = (*DATABASE, click.option("--name", metavar="NAME", help="Name of the study."))
DATA = (
    click.option(
        "--data",
        type=GivenPath(),
        envvar="STUDY_DATA",
        metavar="SOURCE",
        help="Hub id, folder of parquet files or of class folders, or synthetic.",
    ),
)
DEVICE = (click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N."),)
WORKERS = (
    click.option(
        "--workers", metavar="N", help="Local worker processes; auto: on every visible GPU."
    ),
    click.option(
        "--workers-per-gpu",
        type=int,
        metavar="N",
        help="Workers that share a GPU, with --workers auto.",
    ),
)
TRIALS = (
    click.option("--trials", type=int, metavar="N", help="Budget: trials of the whole study."),
)
STUDY = (*LOCATION, *DATA, *DEVICE, *WORKERS, *TRIALS)
"""For commands that may create a study, or that say what one would take."""
SETTING_OF_OPTION = {
    "data": "data.source",
    "storage": "storage.url",
    "runs": "storage.runs",
    "name": "name",
    "workers": "workers.n_workers",
    "workers_per_gpu": "workers.per_gpu",
    "trials": "search.budget.trials",
    "device": "execution.device",
}


def command(
    name: str, *groups: tuple[Option, ...]
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command of a function that takes a request.

    Args:
        name: One of `HELP`.
        groups: Options that mean something to the command, beside those of `CONFIGURATION`.
    """

    def add(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def parsed(
            preset: str | None, config: Path | None, sets: tuple[str, ...], **others: Any
        ) -> None:
            given = {
                setting: others.pop(name)
                for name, setting in SETTING_OF_OPTION.items()
                if name in others
            }
            request = Request(preset, config, sets, given)
            follow_group_rule(request.location().storage)
            function(_complete(request), **others)

        for option in reversed([*CONFIGURATION, *chain(*groups)]):
            parsed = option(parsed)
        return click.command(name, help=HELP[name])(parsed)

    return add


def _complete(request: Request) -> Request:
    if not request.is_to_be_fitted:
        return request
    from study.creation.fitted_preset import fit_to_images

    return fit_to_images(request)


json_option = click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
stop_after_option = click.option(
    "--stop-after",
    metavar="DURATION",
    help="Leave in order after, say, 3h50m; start no epoch that would last longer.",
)


def server_options(port: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add --host and --port."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        where = click.option("--host", default="127.0.0.1", show_default=True, help="Address.")
        ports = click.IntRange(0, 65535)
        which = click.option("--port", type=ports, default=port, show_default=True, help="Port.")
        return where(which(function))

    return add
