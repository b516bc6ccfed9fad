"""The command line: parse, call, print, exit code.

Exit code 2 is misuse, 1 a failure, 130 an interruption. What is heavy is imported by the command
that needs it, so that help and refusals come at once.
"""

import functools
import json
import logging
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from study.progress import EpochProgress, say, track
from study.stopping import INTERRUPTED, StopFlag, StopRequested, parse_duration

if TYPE_CHECKING:
    from data.split_writer import Track
    from study.config import Request
    from study.session import StudySession

REQUEST_OPTIONS = (
    click.option("--preset", metavar="NAME", help="A preset: `study config` lists them."),
    click.option("--config", type=click.Path(path_type=Path), help="YAML file with settings."),
    click.option(
        "--set", "sets", multiple=True, metavar="KEY=VALUE", help="A setting; repeatable."
    ),
    click.option(
        "--data",
        envvar="STUDY_DATA",
        metavar="SOURCE",
        help="Hub id, folder of parquet files or of class folders, or synthetic.",
    ),
    click.option(
        "--storage", envvar="STUDY_STORAGE", metavar="URL", help="Database of the study."
    ),
    click.option("--runs", envvar="STUDY_RUNS", metavar="FOLDER", help="Folder of all runs."),
    click.option("--name", metavar="NAME", help="Name of the study."),
    click.option(
        "--workers", metavar="N", help="Local worker processes; auto: on every visible GPU."
    ),
    click.option("--workers-per-gpu", type=int, metavar="N", help="Where --workers is auto."),
    click.option("--trials", type=int, metavar="N", help="Budget: trials of the whole study."),
    click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N."),
)
WORKER_GRACE_SECONDS = 8.0
LAUNCHER_GRACE_SECONDS = 20.0
SETTING_OF_OPTION = {
    "data": "data.source",
    "storage": "storage.url",
    "runs": "storage.runs",
    "name": "name",
    "workers": "workers.n_workers",
    "workers_per_gpu": "workers.per_gpu",
    "trials": "search.n_trials",
    "device": "execution.device",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 99})
def app() -> None:
    """Search small residual networks for a set of images, train the winner, test it once."""


def command(function: Callable[..., None]) -> click.Command:
    """Make a command of a function that takes a request; every command has the same options."""

    @functools.wraps(function)
    def parsed(
        preset: str | None, config: Path | None, sets: tuple[str, ...], **others: Any
    ) -> None:
        from study.config import Request

        options = {setting: others.pop(name) for name, setting in SETTING_OF_OPTION.items()}
        function(Request(preset, config, sets, options), **others)

    for option in reversed(REQUEST_OPTIONS):
        parsed = option(parsed)
    return app.command(function.__name__.strip("_").replace("_", "-"))(parsed)


json_option = click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")


stop_after_option = click.option(
    "--stop-after",
    metavar="DURATION",
    help="Leave in order after, say, 3h50m; start no epoch that would last longer.",
)


def server_options(port: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add --host and --port."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        where = click.option("--host", default="127.0.0.1", show_default=True, help="Address.")
        which = click.option("--port", default=port, show_default=True, help="Port.")
        return where(which(function))

    return add


def main() -> NoReturn:
    """Run the command line; turn every error into one line and an exit code."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    try:
        app(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt, StopRequested):
        _fail("stopped: nothing is lost, the same command may be given again", INTERRUPTED)
    except Exception as error:
        if isinstance(error, _refusals()):
            _fail(str(error), 2)
        log = _log_traceback()
        if _is_outage(error):
            _fail(
                f"the database did not answer for too long, see {log}: nothing is lost, "
                "the same command continues when it is back",
                1,
            )
        _fail(f"{type(error).__name__}: {error} (traceback in {log})", 1)
    sys.exit(0)


def _refusals() -> tuple[type[Exception], ...]:
    from dashboards.errors import DashboardError
    from data.errors import DataError
    from model.errors import ModelError
    from storage.errors import StorageError
    from study.errors import StudyError

    return (StudyError, DataError, StorageError, ModelError, DashboardError)


def _is_outage(error: Exception) -> bool:
    from storage.database import is_transient

    return is_transient(error)


def _fail(message: str, code: int) -> NoReturn:
    print(f"study: {' '.join(map(str.strip, message.splitlines()))}", file=sys.stderr)
    sys.exit(code)


def _log_traceback() -> Path:
    path = Path("study-error.log")
    try:
        with path.open("a") as file:
            traceback.print_exc(file=file)
    except OSError:  # a folder that cannot be written must not hide what happened
        traceback.print_exc()
    return path


@command
def config(request: "Request") -> None:
    """Print the resolved configuration."""
    from study.config import as_yaml, preset_names

    resolved = request.resolve()
    print(f"# presets: {', '.join(preset_names())}")
    print(re.sub(r"(://[^:/@]+):.*@", r"\1:***@", as_yaml(resolved)), end="")


@command
@json_option
def data(request: "Request", as_json: bool) -> None:
    """Decode the images, if not done yet, and describe them."""
    from dashboards.data_table import data_tables
    from data.image_cache import prepare

    described = prepare(request.resolve(base={}).data, track=track).description
    if as_json:
        _print_json(described.model_dump(mode="json"))
    else:
        _print(*data_tables(described))


@command
def init(request: "Request") -> None:
    """Create a study: prepare the data, fix the protocol, queue the whole budget."""
    from study.initialisation import open_or_create

    _say_places(open_or_create(request, track=track))


@command
@stop_after_option
def run(request: "Request", stop_after: str | None) -> None:
    """Create the study if needed, run local workers until its budget is done, show the trials."""
    stop = StopFlag(after_seconds=parse_duration(stop_after)).install(
        grace_seconds=LAUNCHER_GRACE_SECONDS, exit_code=INTERRUPTED
    )

    from study.gpus import worker_environments
    from study.initialisation import open_or_create
    from study.launcher import run_workers
    from study.suggested_commands import suggested

    session = open_or_create(request, track=_stoppable(stop))
    _say_places(session)
    if _count_unfinished(session) == 0:
        say(f"the budget of {session.protocol.budget} trials is done")
    else:
        session.compare_code()
        run_workers(session, worker_environments(session.config), stop=stop)
    _print_trials(session)
    n_unfinished = _count_unfinished(session)
    if n_unfinished:
        message = f"stopped with {n_unfinished} trials to go: the same command continues"
        if stop_after and not stop.is_signalled:
            say(message)
            return
        _fail(message, INTERRUPTED)
    if not session.has_complete_trial():
        _fail("no trial is complete: see the reasons with `study trials --json`", 1)
    name = session.protocol.study_name
    say(f"next: {suggested('final', '--name', name, place=session.config.storage)}")


@command
@stop_after_option
@click.option(
    "--leave-when-idle", is_flag=True, help="Leave when nothing waits, though others still run."
)
def worker(request: "Request", stop_after: str | None, leave_when_idle: bool) -> None:
    """Join a study and work until nothing waits and nothing runs."""
    stop = StopFlag(after_seconds=parse_duration(stop_after)).install(
        grace_seconds=WORKER_GRACE_SECONDS
    )
    logging.getLogger("study").setLevel(logging.INFO)

    from study.session import await_session

    try:
        session = await_session(request, stop=stop)
        session.compare_code()
        prepared = session.prepare_data(track=_stoppable(stop))
    except StopRequested:
        return

    from study.worker import Worker

    try:
        with _epoch_progress(session) as announce:
            Worker(
                session, prepared, stop=stop, announce=announce, leave_when_idle=leave_when_idle
            ).work()
    except Exception as error:
        if not (stop.is_set and _is_outage(error)):
            raise


@command
@json_option
def status(request: "Request", as_json: bool) -> None:
    """Show how far a study is."""
    from dashboards.status import read_status, status_table
    from study.session import open_session

    session = open_session(request)
    now = read_status(session.storage_handle, session.protocol.study_name)
    if as_json:
        _print_json(now.as_json())
    else:
        _print(status_table(now))


@command
@json_option
def trials(request: "Request", as_json: bool) -> None:
    """List the trials of a study, the best first."""
    from dashboards.trials import read_trials
    from study.session import open_session

    session = open_session(request)
    if as_json:
        rows = read_trials(session.storage_handle, session.protocol.study_name)
        _print_json([row.as_json() for row in rows])
    else:
        _print_trials(session)


@command
@json_option
def best(request: "Request", as_json: bool) -> None:
    """Show the best complete trial of a study so far."""
    from dashboards.trials import best_complete, read_trials, trials_table
    from study.errors import StudyError
    from study.session import open_session

    session = open_session(request)
    row = best_complete(read_trials(session.storage_handle, session.protocol.study_name))
    if row is None:
        raise StudyError(
            f"study {session.protocol.study_name!r} must have a complete trial, it has none yet: "
            "see `study status`"
        )
    if as_json:
        _print_json(row.as_json())
    else:
        _print(trials_table([row]))


@command
def extend(request: "Request") -> None:
    """Add --trials to the budget of a study."""
    from dataclasses import replace

    from study.errors import StudyError
    from study.initialisation import SAMPLED, extend
    from study.session import open_session

    n_more = request.options["search.n_trials"]
    if n_more is None or n_more < 1:
        raise StudyError(f"--trials must be at least 1, got {n_more}: say how many to add")
    others = {key: value for key, value in request.options.items() if key != "search.n_trials"}
    session = extend(open_session(replace(request, options=others)), [SAMPLED] * n_more)
    say(f"the budget of study {session.protocol.study_name} is now {session.protocol.budget}")


@command
@click.argument("new")
def fork(request: "Request", new: str) -> None:
    """Start a changed study NEW from the one of --name, with its trials where they still fit."""
    from study.forking import fork
    from study.suggested_commands import suggested

    session, ancestry = fork(request, new, track=track)
    _say_places(session)
    for line in ancestry.lines():
        say(line)
    say(f"next: {suggested('run', '--name', new, place=session.config.storage)}")


@command
@click.option("--repair", is_flag=True, help="Repair what is found.")
@json_option
def doctor(request: "Request", repair: bool, as_json: bool) -> None:
    """List what a crash has left, and what --repair would do; only tell what may be others'."""
    from study.doctor import examine

    treated = []
    for one in examine(request, repair=repair, say=functools.partial(print, file=sys.stderr)):
        treated.append(one)
        if not as_json:
            say(one.line)
    if as_json:
        _print_json([one.as_json() for one in treated])
    n_left = sum(one.outcome == "found" for one in treated)
    if n_left:
        _fail(f"{n_left} to repair: the same command with --repair does it", 1)
    if not as_json:
        say("nothing is left to repair")


@command
@click.option("--reopen", metavar="REASON", help="Why another winner may see the test split too.")
def final(request: "Request", reopen: str | None) -> None:
    """Train the winner for long, then test it, once."""
    stop = StopFlag().install(grace_seconds=WORKER_GRACE_SECONDS, exit_code=INTERRUPTED)

    from study.promotion import choose_winner
    from study.session import open_session

    session = open_session(request)
    session.compare_code()
    winner = choose_winner(session)

    from study.final_run import open_final, run_final

    say(f"trial {winner.number} won with validation macro-F1 {winner.value:.4f}")
    queued = open_final(session, winner, reopen=reopen, track=_stoppable(stop))
    queued.compare_code()
    prepared = queued.prepare_data()
    with _epoch_progress(queued) as announce:
        result = run_final(queued, prepared, stop=stop, announce=announce)
    if result is None:
        _fail("stopped before the end of the final run: the same command continues", INTERRUPTED)
    if result.was_done:
        say(f"the final run of trial {result.searched_trial} was tested before; its result stands")
    _print_metrics(result.metrics)
    say(f"everything of this run lies in {result.paths.folder}")


@command
@click.argument("checkpoint", type=click.Path(path_type=Path))
@json_option
def evaluate(request: "Request", checkpoint: Path, as_json: bool) -> None:
    """Evaluate the best.pt of a trial or final run on the validation split."""
    from storage.checkpoints import load_checkpoint

    saved = load_checkpoint(checkpoint)

    from data.image_cache import prepare
    from study.final_run import evaluate_checkpoint, refuse_untrained_data

    resolved = request.resolve(base=json.loads(saved["configuration"]))
    prepared = prepare(resolved.data, track=track)
    refuse_untrained_data(saved, prepared, checkpoint)
    examples = prepared.validation()
    metrics = asdict(evaluate_checkpoint(saved, examples, execution=resolved.execution).metrics)
    if as_json:
        _print_json(metrics)
    else:
        _print_metrics({"validation": metrics})


@command
@server_options(8080)
def dashboard(request: "Request", host: str, port: int) -> None:
    """Serve optuna-dashboard on the study's database, read-only."""
    from dashboards.optuna_app import build_dashboard, serve_dashboard
    from study.session import open_session

    session = open_session(request)
    serve_dashboard(build_dashboard(session.storage_handle), host=host, port=port)


@command
@server_options(6006)
def tensorboard(request: "Request", host: str, port: int) -> None:
    """Serve TensorBoard on the runs of the study."""
    from dashboards.tensorboard import serve_tensorboard
    from study.session import open_session

    sys.exit(serve_tensorboard(open_session(request).paths.folder, host=host, port=port))


@command
def report(request: "Request") -> None:
    """Write the report of a study, one HTML file."""
    from dashboards.report import write_report
    from study.session import open_session

    session = open_session(request)
    write_report(
        session.storage_handle,
        session.protocol.study_name,
        runs=session.config.storage.runs,
        path=session.paths.report,
    )
    say(f"the report is {session.paths.report}")


@command
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
def slurm_script(request: "Request", time: str, leave_when_idle: bool, **asked: Any) -> None:
    """Print a batch script that runs workers as an array of Slurm tasks."""
    from study.session import open_session
    from study.slurm_script import ArrayJob, parse_time_limit, script_hints, slurm_script

    job = ArrayJob(limit_seconds=parse_time_limit(time), **asked)
    session = open_session(request)
    print(slurm_script(session, job, leave_when_idle=leave_when_idle), end="")
    for hint in script_hints(session, job):  # not on the standard output, which is the script
        print(hint, file=sys.stderr)


def _count_unfinished(session: "StudySession") -> int:
    trials = session.optuna_study().get_trials(deepcopy=False)
    return sum(not trial.state.is_finished() for trial in trials)


def _say_places(session: "StudySession") -> None:
    from storage.database import parse_url

    say(
        f"study {session.protocol.study_name}: a budget of {session.protocol.budget}, "
        f"database {parse_url(session.config.storage.url)!r}, runs {session.paths.folder}"
    )
    n_dropped = sum(session.protocol.facts["n_dropped"].values())
    if n_dropped:
        say(f"{n_dropped} broken {'image was' if n_dropped == 1 else 'images were'} dropped")


def _stoppable(stop: StopFlag) -> "Track":
    """Return a way to show progress that a signal ends between two steps."""
    return lambda *loop: stop.interrupting(track(*loop))


def _epoch_progress(session: "StudySession") -> EpochProgress:
    kind = "final run" if session.is_final else "trial"
    return EpochProgress(kind=kind, n_epochs=session.config.search.n_epochs)


def _print_trials(session: "StudySession") -> None:
    from dashboards.trials import read_trials, trials_table

    _print(trials_table(read_trials(session.storage_handle, session.protocol.study_name)))


def _print_metrics(metrics: dict[str, Any]) -> None:
    for split in ("validation", "test"):
        if split in metrics:
            values = metrics[split]
            say(
                f"{split}: macro-F1 {values['macro_f1']:.4f}, accuracy {values['accuracy']:.4f}, "
                f"top-5 accuracy {values['top5_accuracy']:.4f}, loss {values['loss']:.4f}"
            )
    if "test" in metrics:
        say(
            f"standard error of the test accuracy: {metrics['test_accuracy_standard_error']:.4f} "
            f"({metrics['n_test_images']} images)"
        )


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _print(*renderables: Any) -> None:
    from rich.console import Console

    Console().print(*renderables)
