"""The command line `study`: run a command, turn every error into one line and an exit code.

Exit code 2 is misuse, 1 a failure, 130 an interruption. The module of a command is imported when
the command runs, so that help comes at once.
"""

import logging
import os
import sys
import traceback
from collections import UserDict
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from storage.run_paths import open_without_following
from study.commands import HELP, MODULES
from study.interrupts import answering_interrupts
from study.progress import fail, finish_output, open_missing_streams
from study.stop_signal import INTERRUPTED, StopRequested, follow_launcher


class CommandModules(UserDict[str, Any]):
    """Commands by name; looking one up imports its module."""

    def __getitem__(self, name: str) -> click.Command:
        module = import_module(f"study.commands.{self.data[name]}")
        found: click.Command = getattr(module, "_" + name.replace("-", "_"))
        return found


class Commands(click.Group):
    """A group whose help says of each command the whole sentence, and imports none."""

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line or two for each command."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(HELP.items()))


@click.group(
    cls=Commands,
    commands=CommandModules(MODULES),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 99},
)
def app() -> None:
    """Search small residual networks for a set of images, train the winner, test it once."""


def main() -> NoReturn:
    """Run the command line; turn every error into one line and an exit code."""
    open_missing_streams()
    follow_launcher()
    try:
        with answering_interrupts():
            _run()
    except KeyboardInterrupt:  # between two steps of ending
        os._exit(INTERRUPTED)
    finally:
        finish_output()


def _run() -> NoReturn:
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    try:
        app(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
    except click.ClickException as error:
        fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt, StopRequested):
        fail("stopped: nothing is lost, the same command may be given again", INTERRUPTED)
    except BrokenPipeError:  # who reads has seen enough, as `head` does
        finish_output()
    except Exception as error:
        if isinstance(error, _expected_errors()):
            fail(str(error), getattr(error, "exit_code", 2))
        from study.commands.output import outage_of

        log = _log_traceback()
        if (reason := outage_of(error)) is not None:
            fail(
                f"the database did not answer for too long ({reason}), see {log}: "
                "nothing is lost, the same command continues when it is back",
                1,
            )
        fail(f"{type(error).__name__}: {error} (traceback in {log})", 1)
    sys.exit(0)


def _expected_errors() -> tuple[type[Exception], ...]:
    from dashboards.errors import DashboardError
    from data.errors import DataError
    from model.errors import ModelError
    from storage.errors import StorageError
    from study.errors import StudyError

    return (StudyError, DataError, StorageError, ModelError, DashboardError)


def _log_traceback() -> Path:
    path = Path("study-error.log")
    try:
        with open(path, "a", opener=open_without_following) as file:
            traceback.print_exc(file=file)
    except OSError:  # a folder that cannot be written, or a link, must not hide what happened
        traceback.print_exc()
    return path
