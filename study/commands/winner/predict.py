"""The command that uses a trained model on pictures of one's own."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from data.sources.folder_walk import readable
from data.sources.given_pictures import find_given_pictures
from data.split_writer import no_progress
from storage.errors import StudyNotFoundError
from study.commands.options import DEVICE, LOCATION, GivenFile, GivenPath, command
from study.configuration.config import Request
from study.errors import StudyError
from study.prediction.output import choose_format, reject_unwritable, writing_to
from study.prediction.rows import FORMATS, Format, build_rows
from study.progress import explain_wait, fail, is_terminal, say, track
from study.stop_signal import INTERRUPTED, StopFlag

if TYPE_CHECKING:
    from model.device import Execution
    from study.prediction.plan import Plan

PIPED_WIDTH = 160
"""Columns of a table where no terminal says how many there are."""


@command("predict", LOCATION, DEVICE)
@click.argument("images", nargs=-1, required=True, type=GivenPath())
@click.option(
    "--model",
    "folder",
    type=GivenFile(path_type=Path),
    metavar="FOLDER",
    help="Model folder; default that of the study's final run.",
)
@click.option(
    "--out",
    type=GivenFile(path_type=Path),
    metavar="FILE",
    help="Write to a file: .csv or .jsonl.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS, case_sensitive=False),
    help="Default as FILE ends; else a table on a terminal, CSV when piped.",
)
@click.option(
    "--top", type=click.IntRange(min=1), metavar="K", help="Classes of each image; default 5."
)
@click.option(
    "--score", is_flag=True, help="Reject images whose folders are called like no class."
)
def _predict(
    request: Request,
    images: tuple[str, ...],
    folder: Path | None,
    out: Path | None,
    kind: Format | None,
    top: int | None,
    score: bool,
) -> None:
    kind = choose_format(kind, out)
    given = find_given_pictures(images)
    if out is not None:
        reject_unwritable(out, given)
    folder = folder or _find_final_model(request)

    explain_wait("loading PyTorch")

    from model.device import resolve_execution
    from study.prediction.plan import count_images, plan_prediction

    plan = plan_prediction(folder, given, n_top=top, is_score_required=score)
    execution = resolve_execution(request.resolve(base={}).execution)
    n_broken, remarks = _write_predictions(plan, execution, kind, out)
    if out is not None:
        say(f"predictions of {count_images(len(plan.paths))} are in {readable(out)}")
    for line in remarks:
        print(line, file=sys.stderr)
    if n_broken:
        broken = f"{n_broken:,} of {count_images(len(plan.paths))}"
        fail(f"{broken} cannot be read: their rows say why", 1)


def _write_predictions(
    plan: "Plan", execution: "Execution", kind: Format, out: Path | None
) -> tuple[int, list[str]]:
    """Write a row for each picture; return how many are broken, and what to say in the end."""
    from model.export import load_model
    from study.prediction.predictions import predict_batches

    model = load_model(plan.folder, device=execution.device)
    scorer = plan.build_scorer(execution.device)
    rows = build_rows(
        kind,
        n_top=plan.n_top,
        paths=plan.paths,
        class_names=model.class_names,
        width=shutil.get_terminal_size((PIPED_WIDTH, 0)).columns,
    )
    stop = StopFlag().install(exit_code=INTERRUPTED, costs="--out is left as it is")
    shown = no_progress if out is None and is_terminal() else track  # rows show it themselves
    n_broken = 0
    with writing_to(out) as write:
        write(rows.header)
        for batch in predict_batches(
            model,
            plan.paths,
            execution=execution,
            track=lambda *loop: stop.interrupting(shown(*loop)),
        ):
            predictions = batch.predictions(model.class_names, n_top=plan.n_top)
            write("".join(map(rows.write, predictions)))
            n_broken += batch.n_broken
            if scorer is not None:
                scorer.add(batch)
    return n_broken, list(plan.describe(scorer, n_broken=n_broken))


def _find_final_model(request: Request) -> Path:
    from study.session.final_model import find_final_model
    from study.session.session import open_session

    try:
        session = open_session(request, reading=True, with_runs=True)
    except StudyNotFoundError as error:
        raise StudyError(f"{error}, or give a model folder with --model") from None
    return find_final_model(session)
