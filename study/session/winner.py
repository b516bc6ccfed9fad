"""Which trial wins a search, and why."""

from pathlib import Path

from dashboards.analysis.confirmation.reading import Confirmation, read_confirmation
from dashboards.analysis.confirmation.sentences import headline
from dashboards.analysis.status import StudyStatus, read_status
from storage.records import IMPORTED_FROM
from storage.study_totals import best_ids
from storage.trial_rows import TrialRow, read_some, read_trials
from study.errors import StudyError
from study.session.session import StudySession
from study.session.suggested_commands import suggest_command


def read_best(session: StudySession) -> TrialRow:
    """Return the best complete trial of a study so far, the earliest of equals.

    Raises:
        StudyError: If there is none, or the study is a confirmation, whose stages have different
            images.
    """
    name, handle = session.protocol.study_name, session.storage_handle
    if session.is_confirmation:
        command = suggest_command(
            "best", "--name", session.searched_name, storage=session.config.storage
        )
        raise StudyError(
            f"--name must be that of a search, the runs of {name!r} are judged by different "
            f"images: `{command}` shows the verdict"
        )
    best = read_some(handle, best_ids(handle.database, name, 1, complete=True))
    if not best:
        raise StudyError(
            f"study {name!r} must have a complete trial, it has none yet: see `study status`"
        )
    return best[0]


def find_weights(session: StudySession, trial: TrialRow) -> Path | None:
    """Return the file of a trial's best weights, None where it is not there."""
    if trial.slot is None or session.paths.key() != session.protocol.study_key:
        return None
    path = session.trial_paths(trial.slot).best
    return path if path.is_file() else None


def why_no_weights(session: StudySession, trial: TrialRow) -> str:
    """Return why the best weights of a trial are not there, and where they may be."""
    if trial.slot is None:
        return f"of an imported trial, with the study that trained it{_origin(trial)}"
    if session.paths.key() != session.protocol.study_key:
        folder = session.protocol.runs_folder or "the runs folder of `study init`"
        return f"not below {session.paths.runs}; the study's runs folder is {folder}"
    n_kept = session.config.storage.kept_trials
    return f"not kept; storage.kept_trials keeps those of the best {n_kept} finished trials"


def _origin(trial: TrialRow) -> str:
    origin = trial.attributes.get(IMPORTED_FROM)
    return f": {origin['study']}, trial {origin['trial']}" if origin else ""


def _progress(status: StudyStatus) -> str:
    if status.spending.unit != "trials":
        return f"{status.spending} are spent"
    n_open = status.waiting + status.paused + status.running
    return f"{n_open} of {n_open + status.done} trials are not"


def reject_unfinished(session: StudySession, what: str) -> None:
    """Reject a search that still runs.

    Args:
        session: The searched study.
        what: What must wait for its end.

    Raises:
        StudyError: If it is not over.
    """
    name, place = session.protocol.study_name, session.config.storage
    status = read_status(session.storage_handle, name)
    if not status.is_over:
        command = suggest_command("run", "--name", name, storage=place)
        raise StudyError(
            f"study {name!r} must be over before its {what}, {_progress(status)}: finish "
            f"{'them' if status.spending.unit == 'trials' else 'it'} with `{command}`"
        )


def choose_winner(session: StudySession) -> TrialRow:
    """Return the trial that the study recommends.

    It is the one that its confirmation recommends; without a confirmation the complete trial with
    the highest validation macro-F1, the earliest of equals.

    Raises:
        StudyError: If the search or its confirmation is not over, or no trial is complete.
    """
    name, handle = session.protocol.study_name, session.storage_handle
    place = session.config.storage
    reject_unfinished(session, "final run")
    confirmation = read_confirmation(handle, name)
    if confirmation is not None and _is_unfinished(confirmation):
        command = suggest_command("confirm", "--name", name, storage=place)
        raise StudyError(
            f"the confirmation of study {name!r} must be over before its final run, "
            f"{_confirmation_progress(confirmation)}: finish it with `{command}`"
        )
    recommended = None if confirmation is None else confirmation.recommended
    if recommended is not None:
        return next(row for row in read_trials(handle, name) if row.number == recommended)
    best = read_some(handle, best_ids(handle.database, name, 1, complete=True))
    if not best:
        command = suggest_command("trials", "--name", name, "--json", storage=place)
        raise StudyError(
            f"study {name!r} must have a complete trial, it has none of "
            f"{len(session.slots())}: see the reasons with `{command}`"
        )
    return best[0]


def _is_unfinished(confirmation: Confirmation) -> bool:
    if confirmation.is_undecided:
        return False
    return not confirmation.is_over or confirmation.awaits_verdict


def _confirmation_progress(confirmation: Confirmation) -> str:
    if confirmation.awaits_verdict:
        return "all runs are, but not judged"
    return f"{confirmation.n_done} of {len(confirmation.runs)} runs are"


def _found_later(session: StudySession, confirmation: Confirmation) -> str:
    """Return a caution where the search has gone on since, and found a better score."""
    best, first = read_best(session), confirmation.candidates[0]
    if best.number == first.number or (best.value or 0.0) <= first.search_score:
        return ""
    return (
        f"; caution: trial {best.number}, {best.value:.4f} in the search, came after the "
        "confirmation, which knows nothing of it: a fork is confirmed anew"
    )


def why_chosen(session: StudySession, winner: TrialRow) -> str:
    """Return, in a sentence, what speaks for the trial that `choose_winner` returned."""
    name = session.protocol.study_name
    confirmation = read_confirmation(session.storage_handle, name)
    if confirmation is not None and confirmation.recommended is not None:
        return headline(confirmation) + _found_later(session, confirmation)
    score = f"trial {winner.number} has the best validation macro-F1, {winner.value:.4f}"
    is_choice = session.is_search and session.config.search.offers_choice
    if confirmation is not None or not is_choice:
        return score
    command = suggest_command("confirm", "--name", name, storage=session.config.storage)
    return f"{score}; it is not confirmed, `{command}` tests it with fresh seeds"
