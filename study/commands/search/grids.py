"""Commands that run given points: a grid, a sweep, a comparison."""

import math
from functools import partial

import click

from study.commands.options import STUDY, command, stop_after_option
from study.commands.output import print_given
from study.commands.search.local_run import run_locally
from study.configuration.ablations import one_factor_points
from study.configuration.config import Request
from study.configuration.grids import grid, lr_wd_axes, mini_grid_axes, parse_axes, replaced
from study.creation.points_study import Plan, base_of_trial, open_given
from study.errors import StudyError

EPOCHS_OF_A_SWEEP = 3
axis_option = click.option(
    "--axis",
    "axes",
    multiple=True,
    metavar="KEY=V,V",
    help="A setting and its values; repeatable.",
)


@command("sweep", STUDY)
@click.argument("what", type=click.Choice(["lr-wd"], case_sensitive=False))
@axis_option
@stop_after_option
def _sweep(request: Request, what: str, axes: tuple[str, ...], stop_after: str | None) -> None:
    own = parse_axes(axes)
    plan = Plan(
        suffix=f"-sweep-{what}",
        points=lambda config: grid(replaced(lr_wd_axes(config.optimization), own)),
        is_explicit=bool(own),
        settings=lambda config: {
            "search.n_epochs": min(
                config.search.n_epochs,
                max(EPOCHS_OF_A_SWEEP, math.floor(config.optimization.warmup_epochs) + 1),
            )
        },
    )
    _run(request, plan, stop_after)


@command("grid", STUDY)
@axis_option
@stop_after_option
def _grid(request: Request, axes: tuple[str, ...], stop_after: str | None) -> None:
    own = parse_axes(axes)
    # A configuration that has points has a name that says what they are.
    configured = () if own or not request.names_configuration else request.resolve().search.points
    plan = Plan(
        suffix="" if configured else "-grid",
        points=lambda config: configured or grid(own or mini_grid_axes(config.network)),
        is_explicit=bool(own),
        settings=lambda c: {"search.budget": c.search.budget} if configured else {},
    )
    _run(request, plan, stop_after)


@command("compare", STUDY)
@click.option("--of", metavar="STUDY", help="Compare around a trial of this study: its winner.")
@click.option("--around-trial", type=int, metavar="N", help="Another trial of --of.")
@click.option(
    "--seeds", "n_seeds", type=click.IntRange(min=1), metavar="N", help="Runs of each; default 1."
)
@click.option(
    "--factor",
    "factors",
    multiple=True,
    metavar="NAME",
    help="Vary only this: learning-rate, dropout, ...; repeatable.",
)
@stop_after_option
def _compare(
    request: Request,
    of: str | None,
    around_trial: int | None,
    n_seeds: int | None,
    factors: tuple[str, ...],
    stop_after: str | None,
) -> None:
    _reject_two_bases(request, of, around_trial)
    plan = Plan(
        suffix="-compare",
        points=lambda config: one_factor_points(config, factors, n_seeds=n_seeds or 1),
        is_explicit=bool(n_seeds or factors),
        base=base_of_trial(request, of, around_trial) if of else None,
    )
    _run(request, plan, stop_after)


def _reject_two_bases(request: Request, of: str | None, around_trial: int | None) -> None:
    if around_trial is not None and not of:
        raise StudyError("--around-trial must name a trial of a study: add --of STUDY")
    if of and request.names_configuration:
        raise StudyError(
            f"--of {of} has its configuration from that study: leave --preset and --config out"
        )


def _run(request: Request, plan: Plan, stop_after: str | None) -> None:
    opening = partial(open_given, request, plan)
    run_locally(request, opening, stop_after=stop_after, show=print_given)
