"""The command that sets several studies side by side. Only reads."""

from pathlib import Path

import click

from dashboards.studies.side_by_side import compare_studies
from dashboards.terminal.studies import side_by_side_tables
from storage.records import read_protocol
from storage.run_folders import lies_in_runs
from study.commands.options import DATABASE, GivenFile, command, json_option
from study.commands.output import print_json, print_rich
from study.configuration.config import Request
from study.configuration.stored_settings import completed
from study.errors import StudyError
from study.progress import explain_wait, say
from study.session.location import Location


@command("compare-studies", DATABASE)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--out",
    type=GivenFile(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page too, with the best value over time: .html.",
)
@json_option
def _compare_studies(
    request: Request, names: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    if len(set(names)) < max(2, len(names)):
        raise StudyError(
            f"NAME must be two studies or more, each once, got {' '.join(names)}: "
            "`study list` names them"
        )
    if out is not None:
        _reject_page(out)
    with Location(request.location().storage, read_only=True) as location:
        handle = location.open()
        protocols = [read_protocol(handle.database, name) for name in names]
        for protocol in protocols:
            location.reject_deleted(protocol)
        configurations = {one.study_name: completed(one.configuration) for one in protocols}
        found = compare_studies(handle, configurations)
    if out is not None:
        explain_wait("drawing the page")

        from dashboards.report.side_by_side import write_side_by_side

        write_side_by_side(found, out)
    if as_json:
        print_json(found.as_json())
        return
    print_rich(*side_by_side_tables(found))
    if out is not None:
        say(f"the page is {out}")


def _reject_page(out: Path) -> None:
    if out.suffix != ".html":
        raise StudyError(f"--out must be an HTML file, got {out}: give it the ending .html")
    if lies_in_runs(out):
        raise StudyError(
            f"--out must lie outside the run folders of studies, {out} lies in one: give "
            "another path"
        )
