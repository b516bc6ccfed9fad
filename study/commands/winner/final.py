"""Commands that train the winner for long, evaluate weights, and export them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from dashboards.analysis.final_scores import describe_group
from data.image_cache import prepare
from storage.checkpoints import load_checkpoint
from storage.run_folders import lies_in_runs
from storage.trial_rows import TrialRow
from study.commands.options import (
    DATA,
    DEVICE,
    LOCATION,
    GivenFile,
    command,
    json_option,
    stop_after_option,
)
from study.commands.output import (
    best_baseline,
    end_early,
    epoch_progress,
    print_json,
    print_metrics,
    stoppable,
)
from study.configuration.config import Request
from study.errors import StudyError
from study.progress import explain_wait, say, survive_lost_output, track
from study.session.enqueue import adopt_enqueued, requeue_finished_elsewhere
from study.session.session import StudySession, open_session
from study.session.winner import choose_winner, why_chosen
from study.stop_signal import (
    INTERRUPTED,
    WORKER_GRACE_SECONDS,
    StopFlag,
    StopRequested,
    parse_duration,
)
from study.workers.gpus import reject_missing_gpu

if TYPE_CHECKING:
    from study.final.test_evaluation import FinalResult

FINAL: Final = "final"
MOST_SEEDS = 100


@command("final", LOCATION, DATA, DEVICE)
@click.option("--reopen", metavar="REASON", help="Why another winner may see the test split too.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1, max=MOST_SEEDS),
    metavar="N",
    help="Train the winner so often, each time with another seed; default final.seeds.",
)
@click.option(
    "--with-control", is_flag=True, help="Train the configured values as often beside it."
)
@stop_after_option
def _final(
    request: Request,
    reopen: str | None,
    seeds: int | None,
    with_control: bool,
    stop_after: str | None,
) -> None:
    survive_lost_output()
    stop = StopFlag(after_seconds=parse_duration(stop_after))

    session = adopt_enqueued(open_session(request))
    requeue_finished_elsewhere(session)
    session.compare_code()
    winner = choose_winner(session)

    reject_missing_gpu(session.config)  # before a final run is queued
    length, size = session.config.final.n_epochs, session.config.final.image_size
    say(why_chosen(session, winner))
    say(
        f"the final run of trial {winner.number} trains for {length} epochs at {size} px, then "
        "takes the one test"
    )
    explain_wait("loading PyTorch")

    from study.final.final_run import open_final, run_final

    stop.install(grace_seconds=WORKER_GRACE_SECONDS, exit_code=INTERRUPTED)
    explain_wait("preparing the images")
    try:
        queued = open_final(
            session,
            winner,
            reopen=reopen,
            seeds=seeds or (session.config.final.seeds if request.gives("final.seeds") else None),
            with_control=with_control,
            track=stoppable(stop),
        )
    except StopRequested:
        end_early("final run", stop, stop_after)
        return
    queued.compare_code()
    _say_runs(session, winner, queued, with_control=with_control)
    prepared = queued.prepare_data()
    with epoch_progress(queued) as announce:
        result = run_final(queued, prepared, stop=stop, announce=announce, tell=say)
    if result is None:
        end_early("final run", stop, stop_after)
    else:
        _show(session, queued, result)


def _say_runs(
    session: StudySession, winner: TrialRow, queued: StudySession, *, with_control: bool
) -> None:
    """Name the seeds before any of them is trained, where there are several runs."""
    from study.final.queued_runs import describe_runs, is_control, queued_trial

    other = queued_trial(queued)
    if other != winner.number:
        say(
            f"caution: the final runs of trial {other} were queued before, and go on; "
            f"trial {winner.number} may have its own after their test, with `--reopen REASON`"
        )
    if with_control and is_control(session, winner):
        say(f"trial {winner.number} has the configured values: it is its own control")
    for line in describe_runs(queued):
        say(line)


def _show(session: StudySession, queued: StudySession, result: "FinalResult") -> None:
    """Print what the test has shown, and write the model folder where it is missing."""
    from study.export.kept_run import open_tested
    from study.export.model_folder import has_model_folder, write_model_folder

    if result.was_done:
        say(f"the final run of trial {result.searched_trial} was tested before; its result stands")
    print_metrics(result.metrics)
    for line in describe_group(result.metrics):
        say(line)
    say(str(best_baseline(session)))
    tested = open_tested(queued)
    if not has_model_folder(tested):
        explain_wait("writing the model folder, with an ONNX file that is checked")
        write_model_folder(tested, tested.paths.model)
    for what, path in (
        ("weights", result.paths.best),
        ("most confident mistakes", result.paths.mistakes),
        ("model folder", tested.paths.model),
    ):
        if path.exists():
            say(f"{what}: {path}")
    say(f"everything of this run lies in {result.paths.folder}")


@command("evaluate", DATA, DEVICE)
@click.argument("checkpoint", type=GivenFile(dir_okay=False, path_type=Path))
@json_option
def _evaluate(request: Request, checkpoint: Path, as_json: bool) -> None:
    saved = load_checkpoint(checkpoint)

    from study.final.evaluate import evaluate_checkpoint, reject_untrained_data
    from study.trial.saved_weights import trained_configuration

    resolved = request.resolve(base=trained_configuration(saved, checkpoint))
    prepared = prepare(resolved.data, track=track)
    reject_untrained_data(saved, prepared, checkpoint)
    explain_wait(f"evaluating on {prepared.description.counts['validation']:,} images")
    found = evaluate_checkpoint(
        saved,
        prepared.validation(),
        execution=resolved.execution,
        evaluation=resolved.evaluation,
    )
    metrics = asdict(found.metrics)
    if as_json:
        print_json(metrics)
    else:
        n_classes = {
            "n_classes": prepared.n_classes,
            "n_validation_classes": found.n_classes_present,
        }
        print_metrics({"validation": metrics, **n_classes})


@command("export", LOCATION)
@click.argument("run", metavar="[TRIAL|final]", default=FINAL)
@click.option(
    "--to", "folder", required=True, type=GivenFile(path_type=Path), help="Folder to write."
)
def _export(request: Request, run: str, folder: Path) -> None:
    if run != FINAL and not run.isdecimal():
        raise StudyError(
            f"TRIAL must be the number of a trial, or {FINAL}, got {run!r}: see `study trials`"
        )
    session = open_session(request, reading=True, with_runs=True)

    from model.export import reject_other_folder
    from study.export.kept_run import open_run
    from study.export.model_folder import write_model_folder

    reject_other_folder(folder)
    if lies_in_runs(folder):
        raise StudyError(
            f"--to must lie outside the run folders of studies, {folder} lies in one: give "
            "another folder"
        )
    explain_wait("writing the model folder, with an ONNX file that is checked")
    kept = open_run(request, session, FINAL if run == FINAL else int(run))
    write_model_folder(kept, folder)
    what = "the final run" if kept.test else f"trial {kept.row.number}, which was not tested,"
    say(f"the model of {what} lies in {folder}: its README.md says how to load it")
