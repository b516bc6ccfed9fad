"""Commands for the studies of a database: list, delete, repair."""

import sys
from functools import partial

import click

from dashboards.studies.summary import summarise_studies
from dashboards.terminal.studies import studies_table
from study.commands.options import LOCATION, command, json_option
from study.commands.output import print_json, print_rich
from study.configuration.config import Request
from study.doctor.doctor import examine
from study.errors import StudyError
from study.progress import fail, say
from study.session.deletion import plan_deletion
from study.session.location import Location


@command("list", LOCATION)
@json_option
def _list(request: Request, as_json: bool) -> None:
    asked = request.location()
    with Location(asked.storage, read_only=True) as location:
        summaries = list(summarise_studies(location.open(), asked.storage.runs, asked.name))
    if as_json:
        print_json([summary.as_json() for summary in summaries])
    elif summaries:
        print_rich(studies_table(summaries))
    else:
        say("no study yet: `study run --preset NAME` begins one, `study config` lists the presets")


@command("delete", LOCATION)
@click.option(
    "--only", type=click.Choice(["rows", "folder"]), help="Keep the other: run folder or rows."
)
@click.option("--yes", is_flag=True, help="Delete without a question.")
def _delete(request: Request, only: str | None, yes: bool) -> None:
    asked = request.location()
    if asked.name is None:
        raise StudyError(
            "--name must say which study is deleted, it is left out: `study list` names them"
        )
    with Location(asked.storage) as location:
        planned = plan_deletion(location, asked.name, rows=only != "folder", folder=only != "rows")
        for line in planned.lines():
            say(line)
        if not (planned.protocol or planned.folders):
            raise StudyError(
                f"--only {only} must name what study {asked.name!r} has: leave it out"
            )
        _confirm(yes)
        planned.execute()
    say("deleted")


def _confirm(is_confirmed: bool) -> None:
    if is_confirmed:
        return
    if not sys.stdin.isatty():
        fail("--yes must be given where nobody can be asked: nothing is deleted", 2)
    if not click.confirm("Delete this for ever?"):
        fail("nothing is deleted", 1)


@command("doctor", LOCATION)
@click.option("--repair", is_flag=True, help="Repair what is found.")
@json_option
def _doctor(request: Request, repair: bool, as_json: bool) -> None:
    treated = []
    for one in examine(request, repair=repair, say=partial(print, file=sys.stderr)):
        treated.append(one)
        if not as_json:
            say(one.line)
    if as_json:
        print_json([one.as_json() for one in treated])
    n_left = sum(one.outcome == "found" for one in treated)
    if n_left:
        fail(f"{n_left} to repair: the same command with --repair does it", 1)
    if not as_json:
        say("nothing is left to repair")
