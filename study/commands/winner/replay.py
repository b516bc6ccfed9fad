"""The command that trains a trial anew and compares it with its record."""

import sys

import click

from storage.final_groups import first_runs
from storage.records import find_protocol
from storage.trial_rows import read_some
from study.commands.options import DATA, DEVICE, LOCATION, command
from study.commands.output import stoppable
from study.configuration.config import Request
from study.errors import StudyError
from study.progress import EpochProgress, explain_wait, say
from study.session.location import Location
from study.session.protocol import reject_added_settings
from study.session.session import StudySession, final_name, open_session
from study.session.suggested_commands import suggest_command
from study.stop_signal import StopFlag

FINAL = "final"


@command("replay", LOCATION, DATA, DEVICE)
@click.argument("trial")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="CPU threads of one operation; default those of the study.",
)
def _replay(request: Request, trial: str, threads: int | None) -> None:
    session, number = _find(request, trial)
    reject_added_settings(session.protocol, session.config)

    explain_wait("loading PyTorch")

    from study.trial.replay import describe_replay, read_recorded_trial, replay

    recorded = read_recorded_trial(session, number)
    stop = StopFlag().install(costs="nothing of the study changes")
    kind = "final run" if session.is_final else "trial"
    with EpochProgress(kind=f"replay of {kind}", n_epochs=len(recorded.epochs)) as announce:
        found = replay(
            session,
            recorded,
            threads=threads or session.protocol.threads,
            stop=stop,
            announce=lambda result: announce(number, result),
            track=stoppable(stop),
        )
    for line in describe_replay(found, f"{kind} {number}"):
        say(line)
    if found.difference is not None:
        sys.exit(1)


def _find(request: Request, trial: str) -> tuple[StudySession, int]:
    """Return the study of a trial, open for reading only, and the trial's number in it."""
    location = Location(request.location().storage, read_only=True)
    if trial != FINAL:
        if not trial.isdecimal():
            raise StudyError(
                f"TRIAL must be the number of a trial or {FINAL!r}, got {trial!r}: "
                "`study trials` lists them"
            )
        return open_session(request, location=location), int(trial)
    searched = open_session(request, location=location)
    if searched.is_final:
        final = searched
    elif find_protocol(searched.storage_handle.database, final_name(searched.searched_name)):
        final = open_session(request, final_name(searched.searched_name), location=location)
    else:
        command = suggest_command(
            "final", "--name", searched.searched_name, storage=searched.config.storage
        )
        raise StudyError(
            f"TRIAL may be {FINAL!r} where study {searched.searched_name!r} has a final run, it "
            f"has none yet: train it with `{command}`"
        )
    rows = read_some(final.storage_handle, [one.trial_id for one in final.slots()])
    return final, first_runs(rows)[-1].number
