"""The console script `study`: run a command, turn every error into one line and an exit code.

Exit code 2 is misuse, 1 a failure, 130 an interruption. The commands are in `study/commands`; what
is heavy is imported by the command that needs it, so that help and errors come at once.
"""

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import click

from storage.run_paths import open_without_following
from study.commands import checks, data, final, grids, monitor, serve, show, studies
from study.commands.options import app
from study.commands.output import fail, outage_of
from study.stop_signal import INTERRUPTED, StopRequested

COMMANDS = (checks, data, final, grids, monitor, serve, show, studies)
"""Modules that add their commands to `app`."""

__all__ = ["COMMANDS", "app", "main"]


def main() -> NoReturn:
    """Run the command line; turn every error into one line and an exit code."""
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if isinstance(error, _expected_errors()):
            fail(str(error), getattr(error, "exit_code", 2))
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
