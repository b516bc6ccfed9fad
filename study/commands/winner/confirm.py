"""The command that tests, with fresh seeds and fresh images, whether the winner holds up."""

import click

from dashboards.analysis.confirmation.reading import Confirmation
from dashboards.analysis.confirmation.sentences import sentences
from dashboards.analysis.status import read_status
from study.commands.options import DATA, DEVICE, LOCATION, command, stop_after_option
from study.commands.output import end_early, stoppable
from study.configuration.config import Request
from study.confirmation.confirmation import advance, conclude, open_confirmation
from study.program import is_called_by_make
from study.progress import explain_wait, say, survive_lost_output
from study.session.enqueue import adopt_enqueued, requeue_finished_elsewhere
from study.session.session import StudySession, open_session
from study.session.suggested_commands import suggest_command
from study.session.winner import reject_unfinished
from study.stop_signal import (
    INTERRUPTED,
    LAUNCHER_GRACE_SECONDS,
    StopFlag,
    StopRequested,
    parse_duration,
)
from study.trial.dashboard_notes import note_study
from study.workers.gpus import reject_missing_gpu, worker_environments
from study.workers.launcher import run_workers


@command("confirm", LOCATION, DATA, DEVICE)
@click.option(
    "--race", is_flag=True, help="Give candidates that keep up with the best more seeds."
)
@stop_after_option
def _confirm(request: Request, race: bool, stop_after: str | None) -> None:
    survive_lost_output()
    stop = StopFlag(after_seconds=parse_duration(stop_after))
    stop.install(grace_seconds=LAUNCHER_GRACE_SECONDS, exit_code=INTERRUPTED)
    session = adopt_enqueued(open_session(request))
    requeue_finished_elsewhere(session)
    session.compare_code()
    reject_unfinished(session, "confirmation")
    if not session.config.search.offers_choice:
        say("nothing was searched, so there is no choice to confirm")
        return
    reject_missing_gpu(session.config)  # before anything is queued
    explain_wait("preparing the images")
    try:
        queued = open_confirmation(session, race=race, track=stoppable(stop))
    except StopRequested:
        end_early("confirmation", stop, stop_after)
        return
    queued.compare_code()
    _say_plan(queued)
    if not _train(session, queued, stop):
        end_early("confirmation", stop, stop_after)
        return
    _say_verdict(session, conclude(session, queued))


def _train(session: StudySession, queued: StudySession, stop: StopFlag) -> bool:
    """Train what is queued, and what follows; return whether all of it is over."""
    following: StudySession | None = queued
    while following is not None:
        queued = following
        name, handle = queued.protocol.study_name, queued.storage_handle
        if not read_status(handle, name).is_over:
            run_workers(queued, worker_environments(queued.config), stop=stop)
        if not read_status(handle, name).is_over:
            return False
        following = advance(session, queued)
    return True


def _say_plan(queued: StudySession) -> None:
    plan = queued.config.confirm
    say(
        f"confirming {plan.candidates} candidates at most with {plan.selection_seeds} fresh seeds "
        f"each, then the best of them and the default with {plan.verdict_seeds} more"
    )


def _say_verdict(session: StudySession, found: Confirmation) -> None:
    for line in sentences(found):
        say(line)
    note_study(session)
    name, place = session.protocol.study_name, session.config.storage
    if found.recommended is not None and not is_called_by_make():  # which goes on by itself
        final = suggest_command("final", "--name", name, storage=place)
        say(f"next: {final} (trial {found.recommended})")
