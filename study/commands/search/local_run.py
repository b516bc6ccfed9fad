"""What every command does that works on a study here: local workers, then what came out."""

from collections.abc import Callable

from dashboards.analysis.status import StudyStatus, read_status
from study.commands.output import say_location, stoppable
from study.configuration.config import Request
from study.progress import fail, say, survive_lost_output
from study.session.location import Location
from study.session.session import StudySession
from study.session.suggested_commands import suggest_command
from study.stop_signal import INTERRUPTED, LAUNCHER_GRACE_SECONDS, StopFlag, parse_duration
from study.trial.dashboard_notes import note_study
from study.workers.gpus import worker_environments
from study.workers.launcher import run_workers


def run_locally(
    request: Request,
    opening: Callable[..., StudySession],
    *,
    stop_after: str | None,
    show: Callable[[StudySession], None],
    skip_checks: bool = False,
) -> None:
    """Open or create a study, run local workers until its budget is done, show the results.

    Args:
        request: Says where the study is.
        opening: Opens or creates the study; gets its `location`, and a `track` for progress.
        stop_after: Duration after which the workers leave in order; None: never.
        show: Shows the results, also of a study that was stopped.
        skip_checks: Whether a new study begins without the quick sanity checks.
    """
    survive_lost_output()
    stop = StopFlag(after_seconds=parse_duration(stop_after))
    stop.install(grace_seconds=LAUNCHER_GRACE_SECONDS, exit_code=INTERRUPTED)
    with Location(request.location().storage) as location:
        session = opening(location=location, track=stoppable(stop))
        say_location(session)
        if _status(session).is_over:
            say(f"the budget of {session.protocol.limit} is done")
        else:
            session.compare_code()
            run_workers(
                session,
                worker_environments(session.config),
                check_first=not (skip_checks or session.has_begun()),
                stop=stop,
            )
        show(session)
        note_study(session)  # with the figures that were drawn
        _end(session, by_plan=bool(stop_after) and not stop.is_signalled)


def _end(session: StudySession, *, by_plan: bool) -> None:
    """Say what comes next; fail if no trial is complete, or if some are left, but not by plan."""
    status = _status(session)
    if not status.is_over:
        message = f"stopped with {_progress(status)}: the same command continues"
        if not by_plan:
            fail(message, INTERRUPTED)
        say(message)
    elif not session.has_complete_trial():
        fail("no trial is complete: see the reasons with `study trials --json`", 1)
    else:
        name, search = session.protocol.study_name, session.config.search
        following = "confirm" if search.offers_choice else "final"
        say(f"next: {suggest_command(following, '--name', name, storage=session.config.storage)}")


def _status(session: StudySession) -> StudyStatus:
    return read_status(session.storage_handle, session.protocol.study_name)


def _progress(status: StudyStatus) -> str:
    if status.spending.unit == "trials":
        return f"{n_trials(status.waiting + status.paused + status.running)} to go"
    return f"{status.spending} spent"


def n_trials(number: int) -> str:
    """Return a number of trials in words."""
    return f"{number} trial{'' if number == 1 else 's'}"
