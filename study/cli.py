"""The command line `study`: run a command, turn every error into one line and an exit code.

Exit code 2 is misuse, 1 a failure, 130 an interruption. The module of a command is imported when
the command runs, so that help comes at once. Must import nothing of the other packages before it
is known that they are this program's.
"""

import logging
import os
import sys
from collections import UserDict
from importlib import import_module
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from study.commands import GROUPS, HELP, MODULES
from study.error_log import log_traceback
from study.errors import ForeignPackageError
from study.foreign_packages import reject_foreign_packages
from study.interrupts import answering_interrupts
from study.progress import explain_wait, fail, finish_output, open_missing_streams
from study.stop_signal import INTERRUPTED, StopRequested, follow_launcher

WAITS = {"final": "opening the study"}
"""What long commands say at a terminal in their first second."""


class CommandModules(UserDict[str, Any]):
    """Commands by name; looking one up imports its module."""

    def __getitem__(self, name: str) -> click.Command:
        module = import_module(f"study.commands.{self.data[name]}")
        found: click.Command = getattr(module, "_" + name.replace("-", "_"))
        return found


class Commands(click.Group):
    """A group whose help says of each command the whole sentence, and imports none."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Parse the command line, which may print help; see `invoke`."""
        try:
            return super().make_context(*arguments, **options)
        except BrokenPipeError:
            raise click.exceptions.Exit(0) from None

    def invoke(self, context: click.Context) -> Any:
        """Run a command; it has not failed where nobody reads its output to the end."""
        try:
            return super().invoke(context)
        except BrokenPipeError:  # else click would end with 1
            raise click.exceptions.Exit(0) from None

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; say first what is done, for its import alone takes a second."""
        waits = WAITS.get(arguments[0]) if arguments else None
        asks_for_help = not {"-h", "--help"}.isdisjoint(arguments)
        if waits and not asks_for_help and not context.resilient_parsing:
            explain_wait(waits)
        return super().resolve_command(context, arguments)

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line or two for each command, by what people do."""
        width = max(map(len, HELP))
        for title, modules in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (name.ljust(width), text)
                        for helps in modules.values()
                        for name, text in helps.items()
                    ]
                )

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, or the options, for a shell."""
        named = [
            CompletionItem(name, help=text)
            for name, text in HELP.items()
            if name.startswith(incomplete)
        ]
        # Those of the group itself: its own method would import every command.
        return named + click.Command.shell_complete(self, context, incomplete)


def print_version(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    """Print the version of this code, and of what decides results, then end."""
    if is_asked:
        from study.session.versions import describe_versions

        print(describe_versions())
        context.exit()


@click.group(
    cls=Commands,
    commands=CommandModules(MODULES),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 99},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the versions of this code and of what decides results.",
)
def app() -> None:
    """Search small residual networks for a set of images, train the winner, test it once."""


def main() -> NoReturn:
    """Run the command line; turn every error into one line and an exit code."""
    open_missing_streams()
    follow_launcher()
    try:
        reject_foreign_packages()
        with answering_interrupts():
            _run()
    except ForeignPackageError as error:
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:  # between two steps of ending
        os._exit(INTERRUPTED)
    except BrokenPipeError:  # who reads has seen enough, as `head` does
        sys.exit(0)
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
    except BrokenPipeError:
        raise
    except Exception as error:
        from storage.access import describe_denial, find_denied_file

        is_expected = isinstance(error, _expected_errors())
        denied = find_denied_file(error)
        if denied is not None and (is_expected or isinstance(error, PermissionError)):
            fail(describe_denial(str(error) if is_expected else "", denied), 2)
        if is_expected:
            fail(str(error), getattr(error, "exit_code", 2))
        if isinstance(error, FileNotFoundError) and not _has_current_folder():
            fail("the current folder must exist, it was removed: change to another with cd", 2)
        from study.commands.output import outage_of

        traceback = log_traceback()
        if (reason := outage_of(error)) is not None:
            fail(
                f"the database did not answer for too long ({reason}), {traceback}: "
                "nothing is lost, the same command continues when it is back",
                1,
            )
        fail(f"{type(error).__name__}: {error} ({traceback})", 1)
    sys.exit(0)


def _has_current_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _expected_errors() -> tuple[type[Exception], ...]:
    from dashboards.errors import DashboardError
    from data.errors import DataError
    from model.errors import ModelError
    from storage.errors import StorageError
    from study.errors import StudyError

    return (StudyError, DataError, StorageError, ModelError, DashboardError)
