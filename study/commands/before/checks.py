"""Commands that look at configuration, data, network and step before a budget is spent."""

from collections.abc import Sequence

import click
from rich import box
from rich.table import Table

from data.image_cache import prepare
from storage.configuration import shown_url
from study.checks.lr_finder import (
    free_paths,
    range_test,
    reject_narrowing,
    run_range_test,
    write_narrowed,
)
from study.checks.result import CheckResult, failure_line
from study.commands.options import STUDY, command, json_option
from study.commands.output import print_json, print_rich
from study.configuration.config import Request, as_yaml
from study.configuration.presets import preset_names
from study.configuration.spaces.ranges import LEARNING_RATE
from study.creation.create import resolve_at
from study.errors import UnsoundPipelineError
from study.progress import explain_wait, fail, say, track
from study.session.location import Location
from study.session.session import open_session
from study.session.suggested_commands import assignment, suggest_command
from study.trial.dashboard_notes import note_study
from study.workers.gpus import count_threads

OVERFIT_IMAGES, OVERFIT_STEPS = 64, 600


@command("config", STUDY)
def _config(request: Request) -> None:
    resolved = request.resolve()
    print(f"# presets: {', '.join(preset_names())}")
    shown = resolved.replacing({"storage.url": shown_url(resolved.storage.url)})
    print(as_yaml(shown), end="")


@command("sanity", STUDY)
@click.option("--quick", is_flag=True, help="Only what takes seconds; `study run` does it too.")
@click.option(
    "--overfit-images",
    type=click.IntRange(min=2),
    default=OVERFIT_IMAGES,
    show_default=True,
    help="Images to learn by heart.",
)
@click.option(
    "--overfit-steps",
    type=click.IntRange(min=1),
    default=OVERFIT_STEPS,
    show_default=True,
    help="Most steps for that.",
)
@json_option
def _sanity(
    request: Request, quick: bool, overfit_images: int, overfit_steps: int, as_json: bool
) -> None:
    from model.device import set_threads
    from study.checks.run_checks import Overfitting, PipelineChecks

    with Location(request.location().storage) as location:
        config, _ = resolve_at(location, request)
    set_threads(count_threads(config))
    pipeline = PipelineChecks(config, prepare(config.data, track=track))
    checks = (
        pipeline.quick_checks()
        if quick
        else pipeline.all_checks(Overfitting(overfit_images, overfit_steps))
    )
    most = "" if quick else f"; learning {overfit_images} images by heart takes longest"
    explain_wait(f"checking data, network and training step{most}")
    results = list(checks)
    if as_json:
        print_json([vars(result) for result in results])
    else:
        print_rich(_table(config.name, results))
    failure = failure_line(results)
    if failure is not None:
        raise UnsoundPipelineError(failure)


def _table(name: str, results: Sequence[CheckResult]) -> Table:
    table = Table(title=f"sanity of {name}", box=box.SIMPLE)
    for heading in ("check", "", "measured", "expected"):
        table.add_column(heading)
    says = {True: "[green]pass[/]", False: "[bold red]FAIL[/]", None: ""}
    for result in results:
        expected = result.expected
        if result.passed is False:
            expected += f"\n[bold]{result.remedy}[/]"
        table.add_row(result.name, says[result.passed], result.measured, expected)
    return table


@command("lr-range", STUDY)
@click.option("--low", type=float, help="First learning rate; default 1e-3, adam and adamw 1e-5.")
@click.option("--high", type=float, help="Last learning rate; default 10, adam and adamw 1.")
@click.option("--steps", type=int, default=300, show_default=True, help="Training steps.")
@click.option("--apply", is_flag=True, help="Write a configuration with a narrowed search range.")
@json_option
def _lr_range(
    request: Request,
    low: float | None,
    high: float | None,
    steps: int,
    apply: bool,
    as_json: bool,
) -> None:
    location = Location(request.location().storage)
    config, found = resolve_at(location, request)
    if apply:
        reject_narrowing(config, exists=found is not None)
    session = None if found is None else open_session(request, location=location)
    if session is not None:
        config = session.config
    test = range_test(config, low=low, high=high, n_steps=steps)
    paths = free_paths(config) if session is None else session.paths.range_test

    from model.device import set_threads

    prepared = prepare(config.data, track=track) if session is None else session.prepare_data()
    set_threads(count_threads(config))
    explain_wait(f"training {steps} steps at rising learning rates")
    curve = run_range_test(config, prepared, test, paths)
    if session is not None:
        note_study(session)
    if as_json:
        print(paths.record.read_text())
    else:
        say(f"the curve is in {paths.picture}")
    if curve.suggested_rate is None:
        fail(
            f"no learning rate is suggested, the loss never falls between {test.low:g} and "
            f"{test.high:g}: widen --low and --high, or take more --steps",
            1,
        )
    narrowed = write_narrowed(config, curve.suggested_rate, paths) if apply else None
    if not as_json:
        rate = float(f"{curve.suggested_rate:.2g}")
        say(f"suggested: --set {assignment('optimization.learning_rate', rate)}")
        if narrowed is not None:
            go_on = suggest_command(
                "run", "--config", str(paths.configuration), storage=config.storage
            )
            low, high = narrowed
            say(f"searched from {low:g} to {high:g} by: {go_on}")
        elif session is None and LEARNING_RATE in config.search.searched:
            say("a search draws its own: --apply writes a configuration that draws around this")
