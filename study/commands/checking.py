"""Commands that look at a study's data, network and step before a budget is spent."""

from typing import TYPE_CHECKING

import click

from study.commands.options import command, json_option
from study.commands.output import print_json, print_rich
from study.progress import track

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from study.check_results import CheckResult
    from study.config import Request

OVERFIT_IMAGES, OVERFIT_STEPS = 64, 600


@command
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
def sanity(
    request: "Request", quick: bool, overfit_images: int, overfit_steps: int, as_json: bool
) -> None:
    """Check data, network, training step and checkpoint; fail when one is broken."""
    from data.image_cache import prepare
    from model.device import set_threads
    from study.check_results import failure_line
    from study.errors import UnsoundPipelineError
    from study.gpus import count_threads
    from study.initialisation import asked_for
    from study.rehearsal import Overfitting, Rehearsal

    config, _ = asked_for(request)
    set_threads(count_threads(config))
    rehearsal = Rehearsal(config, prepare(config.data, track=track))
    checks = (
        rehearsal.quick_checks()
        if quick
        else rehearsal.all_checks(Overfitting(overfit_images, overfit_steps))
    )
    results = list(checks)
    if as_json:
        print_json([vars(result) for result in results])
    else:
        print_rich(_table(config.name, results))
    failure = failure_line(results)
    if failure is not None:
        raise UnsoundPipelineError(failure)


def _table(name: str, results: "Sequence[CheckResult]") -> "Table":
    from rich import box
    from rich.table import Table

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
