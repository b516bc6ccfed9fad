"""Commands that only read."""

from dataclasses import asdict
from pathlib import Path

import click

from dashboards.analysis.status import read_status
from dashboards.terminal.trials import TrialsTable
from storage.trial_rows import read_trials
from study.commands.options import LOCATION, GivenFile, command, json_option
from study.commands.output import best_baseline, print_json, print_rich, print_trials
from study.configuration.config import Request
from study.errors import StudyError
from study.progress import explain_wait, say
from study.session.session import open_session
from study.session.winner import find_weights, read_best, why_chosen, why_no_weights


@command("trials", LOCATION)
@json_option
def _trials(request: Request, as_json: bool) -> None:
    session = open_session(request, reading=True)
    if as_json:
        rows = read_trials(session.storage_handle, session.protocol.study_name)
        print_json([row.as_json() for row in rows])
    else:
        print_trials(session)


@command("best", LOCATION)
@json_option
def _best(request: Request, as_json: bool) -> None:
    session = open_session(request, reading=True)
    best = read_best(session)
    weights = find_weights(session, best)
    found = read_status(session.storage_handle, session.protocol.study_name).confirmation
    if as_json:
        more = {
            "weights": None if weights is None else str(weights),
            "confirmation": None if found is None else asdict(found),
        }
        print_json(best.as_json() | more)
        return
    print_rich(TrialsTable([best]))
    say(str(best_baseline(session)))
    for line in found.sentences if found else [why_chosen(session, best)]:
        say(line)
    say(f"weights: {why_no_weights(session, best) if weights is None else weights}")


@command("report", LOCATION)
@click.option(
    "--out",
    type=GivenFile(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write the report there; default the study's run folder.",
)
@click.option(
    "--figures",
    type=GivenFile(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write every figure there too, as SVG and PDF.",
)
@click.option(
    "--tables",
    type=GivenFile(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write the tables there too, as CSV and LaTeX.",
)
def _report(request: Request, out: Path | None, figures: Path | None, tables: Path | None) -> None:
    from dashboards.report.report import write_report

    if out is not None and out.suffix != ".html":
        raise StudyError(
            f"--out must end in .html, '{out}' does not: rename it; the summary ends in .md"
        )
    session = open_session(request, reading=True, with_runs=True)
    report_file = out or session.paths.report
    explain_wait("drawing figures and writing the report")
    published = write_report(
        session.storage_handle,
        session.protocol.study_name,
        runs=session.config.storage.runs,
        path=report_file,
        cache=session.config.data.cache,
        figures=figures,
        tables=tables,
    )
    say(f"the report is {report_file}, its summary {report_file.with_suffix('.md').name}")
    for folder, files, kinds in (
        (figures, published.figures, "figures as SVG and PDF"),
        (tables, published.tables, "tables as CSV and LaTeX"),
    ):
        if folder is not None:
            say(f"{len(files)} files in {folder}: {kinds}")
