"""Which trial wins a search, and why."""

from storage.study_totals import best_ids
from storage.trial_rows import TrialRow, read_some
from study.errors import StudyError
from study.session.session import StudySession
from study.session.suggested_commands import suggest_command


def read_best(session: StudySession) -> TrialRow:
    """Return the best complete trial of a study so far, the earliest of equals.

    Raises:
        StudyError: If there is none.
    """
    name, handle = session.protocol.study_name, session.storage_handle
    best = read_some(handle, best_ids(handle.database, name, 1, complete=True))
    if not best:
        raise StudyError(
            f"study {name!r} must have a complete trial, it has none yet: see `study status`"
        )
    return best[0]


def choose_winner(session: StudySession) -> TrialRow:
    """Return the complete trial with the highest validation macro-F1, the earliest of equals.

    Raises:
        StudyError: If the search is not over, or has no complete trial.
    """
    name, handle = session.protocol.study_name, session.storage_handle
    place = session.config.storage
    if unfinished := session.count_unfinished():
        command = suggest_command("run", "--name", name, storage=place)
        raise StudyError(
            f"study {name!r} must be over before its final run, {unfinished} of "
            f"{len(session.slots())} trials are not: finish them with `{command}`"
        )
    best = read_some(handle, best_ids(handle.database, name, 1, complete=True))
    if not best:
        command = suggest_command("trials", "--name", name, "--json", storage=place)
        raise StudyError(
            f"study {name!r} must have a complete trial, it has none of "
            f"{len(session.slots())}: see the reasons with `{command}`"
        )
    return best[0]
