"""Finds and repairs what crashes leave and `init` and workers do not: the entry of `study doctor`.

Everything is examined and repaired while the init lock is held, so that no queue is half-filled
only for a moment. Workers continue meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence

from storage.addresses import parse_url
from storage.atomic_files import writing
from storage.init_lock import initialising
from storage.leases import held_leases, reject_other_machines
from storage.records import read_protocol, study_names
from storage.study_names import names_of_all
from storage.study_storage import reject_read_only
from study.configuration.config import Request
from study.configuration.stored_settings import completed
from study.doctor.finding import Finding, FindingOutcome
from study.doctor.queues import (
    deleted_studies,
    foreign_findings,
    other_budget,
)
from study.doctor.run_folders import (
    abandoned_parts,
    folders_without_a_place,
    forgotten_results,
    is_claimed,
    other_folders,
    other_runs_folder,
    weights_of_others,
)
from study.doctor.stale_leases import await_lost, unattended_trials
from study.session.location import Location
from study.session.session import StudySession, bind


def examine(
    request: Request, *, repair: bool, say: Callable[[str], None]
) -> Iterator[FindingOutcome]:
    """Yield the problems that a crash left, repaired if that is wanted.

    Args:
        request: Names the database, the runs folder, and the study; default all in the database.
        repair: Whether to repair what is found.
        say: Told what is waited for.

    Raises:
        StudyNotFoundError: If there is no such database or study.
        StorageError: If the database cannot be opened, or written for a repair.
        RunFolderError: If the runs folder cannot be read, or written though a repair must.
    """
    place = request.location()
    url = parse_url(place.storage.url)
    with Location(place.storage, read_only=not repair) as location:
        handle = location.open()
        if repair:
            reject_read_only(handle, place.storage.url)
            held = [*held_leases(handle.database).values()]
            reject_other_machines(handle.database, held, grace=place.storage.grace_seconds)
        lost = await_lost(_open_all(location, request)[0], say=say)
        with initialising(url, read_only=not repair):
            sessions, broken = _open_all(location, request)
            findings = list(deleted_studies(broken, named=place.name is not None))
            incomplete = {session.searched_name for session in broken}
            findings += _folders([one for one in sessions if one.searched_name not in incomplete])
            for session in sessions:
                findings += other_budget(session, session.slots())
                findings += unattended_trials(session, lost)
                findings += foreign_findings(session)
            findings += other_folders(handle, place.storage.runs)
            for finding in findings:
                yield finding.treat(repair=repair)


def _open_all(
    location: Location, request: Request
) -> tuple[list[StudySession], list[StudySession]]:
    """Open the study of the request, or all, each with what follows its search, oldest first.

    Returns:
        Those that can be examined, and those that Optuna no longer has.
    """
    handle, name = location.open(), request.location().name
    names = study_names(handle.database)
    if name is not None:
        names = [one for one in names if one in names_of_all(name)] or [name]
    protocols = [read_protocol(handle.database, name) for name in names]
    opened = [
        bind(request.resolve(base=completed(one.configuration)), one, handle, location.config)
        for one in protocols
    ]
    there = {study.study_name for study in handle.get_all_studies()}
    return (
        [session for session in opened if session.protocol.study_name in there],
        [session for session in opened if session.protocol.study_name not in there],
    )


def _folders(sessions: Sequence[StudySession]) -> list[Finding]:
    """Check run folders, before queues: a missing slot must not find an old folder."""
    slots = {
        session.protocol.study_name: {trial.slot for trial in session.slots()}
        for session in sessions
    }
    findings: list[Finding] = []
    for session in sessions:
        with writing(session.paths.folder):
            if session.is_search:
                findings += other_runs_folder(session)
            if not is_claimed(session):
                continue
            if session.is_search:
                queues = [slots.get(one, set()) for one in names_of_all(session.searched_name)]
                findings += folders_without_a_place(session.paths, *queues)
                findings += forgotten_results(session)
            findings += weights_of_others(session)
            findings += abandoned_parts(session)
    return findings
