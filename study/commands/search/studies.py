"""Commands that create, run and change a study."""

import logging
import math
import os
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import click

from storage.budget import UNITS, Budget
from storage.configuration import shown_url
from storage.optuna_rows import SLOT
from storage.trial_rows import state_name
from study.commands.options import (
    DATA,
    DEVICE,
    LOCATION,
    STUDY,
    command,
    stop_after_option,
)
from study.commands.output import (
    epoch_progress,
    outage_of,
    print_trials,
    say_location,
    stoppable,
)
from study.commands.search.local_run import run_locally
from study.configuration.config import Request
from study.creation.create import open_or_create
from study.creation.extend import extend_budget
from study.creation.fork import fork
from study.errors import StudyError
from study.log_lines import note, stamp_lines
from study.progress import is_terminal, say, survive_lost_output, track
from study.session.enqueue import enqueue
from study.session.location import Location
from study.session.session import StudySession, await_session, open_session
from study.session.suggested_commands import suggest_command
from study.session.versions import source_digest
from study.stop_signal import (
    WORKER_GRACE_SECONDS,
    StopFlag,
    StopRequested,
    parse_duration,
)
from study.workers.slurm import ArrayJob, parse_time_limit, script_hints, slurm_script

logger = logging.getLogger(__name__)


@command("init", STUDY)
def _init(request: Request) -> None:
    with Location(request.location().storage) as location:
        say_location(open_or_create(request, location=location, track=track))


@command("run", STUDY)
@stop_after_option
@click.option("--skip-checks", is_flag=True, help="Begin without the quick sanity checks.")
def _run(request: Request, stop_after: str | None, skip_checks: bool) -> None:
    run_locally(
        request,
        partial(open_or_create, request, works_here=True),
        stop_after=stop_after,
        show=print_trials,
        skip_checks=skip_checks,
    )


@command("worker", LOCATION, DATA, DEVICE)
@stop_after_option
@click.option(
    "--leave-when-idle", is_flag=True, help="Leave when nothing waits, though others still run."
)
@click.option("--check-first", is_flag=True, help="Leave at once if a quick sanity check fails.")
def _worker(
    request: Request, stop_after: str | None, leave_when_idle: bool, check_first: bool
) -> None:
    survive_lost_output()
    if not is_terminal():
        stamp_lines()
    stop = StopFlag(after_seconds=parse_duration(stop_after))
    logging.getLogger("study").setLevel(logging.INFO)

    try:
        session = await_session(request, stop=stop)
        note(f"worker of study {session.protocol.study_name}: {_describe_worker(session)}")
        session.compare_code()

        from study.checks.run_checks import reject_broken
        from study.workers.worker import Worker

        stop.install(grace_seconds=WORKER_GRACE_SECONDS)
        prepared = session.prepare_data(track=stoppable(stop))
    except StopRequested:
        note(f"leaves before its first trial: {stop.reason}")
        return

    try:
        with epoch_progress(session) as announce:
            ready = Worker(
                session, prepared, stop=stop, announce=announce, leave_when_idle=leave_when_idle
            )
            if check_first:
                reject_broken(session.config, prepared)
            ready.work()
    except Exception as error:
        if not (stop.is_set and outage_of(error)):
            raise
        logger.warning("stopped while the database is away: another worker reclaims the trial")


def _describe_worker(session: StudySession) -> str:
    """Say where a worker works, for its log."""
    config = session.config
    facts = [
        f"device {config.execution.device}",
        f"threads {config.workers.threads}",
        f"database {shown_url(config.storage.url)}",
        f"runs {session.paths.folder}",
        f"source digest {source_digest()}",
    ]
    if "SLURM_JOB_ID" in os.environ:
        n_restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
        facts.append(f"Slurm job {os.environ['SLURM_JOB_ID']}, restarted {n_restarts} times")
    return ", ".join(facts)


@command("extend", LOCATION)
@click.option("--trials", type=int, metavar="N", help="Trials to add.")
@click.option("--epochs", type=int, metavar="N", help="Epochs to add.")
@click.option("--hours", type=float, metavar="H", help="Hours of workers to add.")
def _extend(request: Request, **given: float | None) -> None:
    settings = dict(request.options)
    given["trials"] = settings.pop("search.budget.trials")  # elsewhere the whole budget
    added = [Budget(unit, amount) for unit in UNITS if (amount := given[unit]) is not None]
    if len(added) != 1:
        got = " and ".join(f"--{one.unit}" for one in added) or "none"
        raise StudyError(
            f"extend must have one of --trials, --epochs and --hours, got {got}: say what to add"
        )
    (more,) = added
    if not 0 < more.amount < math.inf:
        raise StudyError(
            f"--{more.unit} must be above 0, got {more.amount:g}: say how many to add"
        )
    session = extend_budget(open_session(replace(request, options=settings)), more)
    say(f"the budget of study {session.protocol.study_name} is now {session.protocol.limit}")


@command("enqueue", LOCATION)
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
def _enqueue(request: Request, assignments: tuple[str, ...]) -> None:
    session = open_session(request)
    trial, is_new = enqueue(session, assignments)
    if not is_new:
        say(f"trial {trial.number} has these hyperparameters already: {state_name(trial)}")
        return
    name, place = session.protocol.study_name, session.config.storage
    slot = trial.user_attrs[SLOT]
    budget = open_session(request).protocol.limit
    before = f"trial {trial.number} comes before all that are sampled, in slot {slot}"
    say(f"{before}; the budget of study {name} is {budget}")
    say(f"running workers claim it, else: {suggest_command('run', '--name', name, storage=place)}")


@command("fork", STUDY)
@click.argument("new")
def _fork(request: Request, new: str) -> None:
    with Location(request.location().storage) as location:
        session, ancestry = fork(request, new, location=location, track=track)
    say_location(session)
    for line in ancestry.lines():
        say(line)
    say(f"next: {suggest_command('run', '--name', new, storage=session.config.storage)}")


@command("slurm-script", LOCATION, DATA, DEVICE)
@click.option(
    "--tasks",
    "n_tasks",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Tasks of the array, one worker each.",
)
@click.option("--at-once", type=click.IntRange(min=1), help="Most tasks at a time; default all.")
@click.option("--time", default="4:00:00", show_default=True, help="Time limit of a task.")
@click.option("--gpus-per-task", type=click.IntRange(0, 1), default=1, show_default=True)
@click.option("--cpus-per-task", type=click.IntRange(min=1), help="Default: workers.threads.")
@click.option("--partition", help="Default: the cluster's.")
@click.option("--node", help="The one node that runs all tasks; SQLite needs it.")
@click.option("--leave-when-idle", is_flag=True, help="Passed on to the workers.")
@click.option("--sbatch", "more", multiple=True, help="Any other option of sbatch; repeatable.")
def _slurm_script(request: Request, time: str, leave_when_idle: bool, **asked: Any) -> None:
    job = ArrayJob(limit_seconds=parse_time_limit(time), **asked)
    session = open_session(request)
    print(slurm_script(session, job, leave_when_idle=leave_when_idle), end="")
    for hint in script_hints(session, job):  # not on the standard output, which is the script
        print(hint, file=sys.stderr)
