"""Which trial wins a search, and why."""

from dashboards.trials import TrialRow, best_complete, read_trials
from study.errors import StudyError
from study.session import StudySession


def choose_winner(session: StudySession) -> TrialRow:
    """Return the complete trial with the highest validation macro-F1, the earliest of equals.

    Raises:
        StudyError: If the search is not over, or has no complete trial.
    """
    name = session.protocol.study_name
    rows = read_trials(session.storage_handle, name)
    n_places = sum(not row.is_taken_over for row in rows)
    unfinished = sum(row.state in ("waiting", "running") for row in rows)
    if unfinished:
        raise StudyError(
            f"study {name!r} must be over before its final run, {unfinished} of {n_places} "
            f"trials are not: finish them with `study run --name {name}`"
        )
    winner = best_complete(rows)
    if winner is None:
        raise StudyError(
            f"study {name!r} must have a complete trial, it has none of {len(rows)}: "
            f"see the reasons with `study trials --name {name} --json`"
        )
    return winner
