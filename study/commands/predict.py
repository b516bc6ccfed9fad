"""The command that uses a trained model on pictures of one's own."""

import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from data.sources.folder_walk import readable
from data.sources.given_pictures import find_given_pictures
from storage.errors import StudyNotFoundError
from study.commands.options import DEVICE, LOCATION, command
from study.configuration.config import Request
from study.errors import StudyError
from study.prediction.output import choose_format, reject_unwritable, writing_to
from study.prediction.rows import FORMATS, Format, build_rows
from study.progress import fail, is_terminal, say, track
from study.stop_signal import INTERRUPTED, StopFlag

if TYPE_CHECKING:
    from study.prediction.scoring import Scorer

T = TypeVar("T")
MOST_CLASSES = 5
PIPED_WIDTH = 160


@command("predict", LOCATION, DEVICE)
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--model",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Model folder; default that of the study's final run.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to a file: .csv or .jsonl.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
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
    if out is not None:
        reject_unwritable(out)
    given = find_given_pictures(images)
    folder = folder or _find_final_model(request)

    from model.device import resolve_execution
    from model.export import load_config, load_model
    from study.prediction.predictions import predict_batches
    from study.prediction.scoring import Scorer, choose_labels

    names = load_config(folder).class_names
    n_top = _choose_top(top, len(names))
    labels, note = choose_labels(given, names, is_required=score)
    execution = resolve_execution(request.resolve(base={}).execution)
    model = load_model(folder, device=execution.device)
    scorer = None
    if labels is not None:
        scorer = Scorer(labels, n_classes=len(names), device=execution.device)
    paths = [path for pictures in given for path in pictures.paths]
    width = shutil.get_terminal_size((PIPED_WIDTH, 0)).columns
    rows = build_rows(kind, n_top=n_top, paths=paths, class_names=names, width=width)
    stop = StopFlag().install(exit_code=INTERRUPTED)
    is_shown = out is not None or not is_terminal()  # else the rows themselves show it

    def follow(items: Iterable[T], description: str, total: int, step: int, /) -> Iterator[T]:
        shown = track(items, description, total, step) if is_shown else items
        return stop.interrupting(shown)

    with writing_to(out) as write:
        write(rows.header)
        n_broken = 0
        for batch in predict_batches(model, paths, execution=execution, track=follow):
            write("".join(map(rows.write, batch.predictions(names, n_top=n_top))))
            n_broken += batch.n_broken
            if scorer is not None:
                scorer.add(batch)
    if out is not None:
        say(f"predictions of {_count(len(paths))} are in {readable(out)}")
    for line in (note, *_describe_score(scorer, n_broken)):
        if line:
            print(line, file=sys.stderr)
    if n_broken:
        fail(f"{n_broken:,} of {_count(len(paths))} cannot be read: their rows say why", 1)


def _count(n_images: int) -> str:
    return "1 image" if n_images == 1 else f"{n_images:,} images"


def _choose_top(top: int | None, n_classes: int) -> int:
    if top is None:
        return min(MOST_CLASSES, n_classes)
    if top > n_classes:
        raise StudyError(
            f"--top must be at most {n_classes}, the classes of the model, got {top}: lower it"
        )
    return top


def _describe_score(scorer: "Scorer | None", n_broken: int) -> list[str]:
    from study.prediction.scoring import score_lines

    if scorer is None:
        return []
    evaluation = scorer.evaluation()
    if evaluation is None:
        return ["not scored: no image can be read"]
    left_out = f"{_count(n_broken)} that cannot be read: not part of the score"
    return [*score_lines(evaluation), *([left_out] if n_broken else [])]


def _find_final_model(request: Request) -> Path:
    from study.session.final_model import find_final_model
    from study.session.session import open_session

    try:
        session = open_session(request, reading=True, with_runs=True)
    except StudyNotFoundError as error:
        raise StudyError(f"{error}, or give a model folder with --model") from None
    return find_final_model(session)
