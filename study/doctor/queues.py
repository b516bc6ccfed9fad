"""Queues with missing or extra slots, trials of other programs, and deleted studies.

The caller holds the init lock, so that nobody is filling a queue.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from storage.atomic_files import writing
from storage.optuna_rows import FIXED_PARAMS, SLOT
from storage.orphaned_rows import remove_orphans
from storage.records import raise_budget
from storage.run_folders import free_name
from storage.study_deletion import delete_named_study
from storage.study_totals import Slot, foreign_ids
from storage.trial_rows import state_name
from study.configuration.spaces.nearest import nearest_params
from study.creation.queue import build_points, fill_queue
from study.doctor.finding import Finding, count
from study.doctor.run_folders import is_claimed
from study.session.session import StudySession
from study.session.suggested_commands import suggest_command


def deleted_studies(broken: Sequence[StudySession], *, named: bool) -> Iterator[Finding]:
    """Find studies that Optuna's own tools have deleted, final runs among them.

    Args:
        broken: Studies with a protocol that Optuna no longer has.
        named: Whether they are asked for by name, so that a repair sets aside what is left.
    """
    for session in broken:
        words = ("doctor", "--name", session.searched_name, "--repair")
        command = suggest_command(*words, storage=session.config.storage)
        where = f"study {session.protocol.study_name}"
        what = "was deleted with Optuna's own tools, its protocol and run folder are left"
        if named:
            yield Finding(where, what, "set aside", partial(_set_aside, session))
        else:
            yield Finding(where, what, f"left alone; `{command}` sets them aside")


def _set_aside(session: StudySession) -> bool:
    """Delete the protocol of a study, with what else Optuna has of it, and rename its folder.

    Folders of final runs stay: a result in them still says that the test split was opened.
    """
    is_whole = is_claimed(session) and session.is_search
    grace = session.config.storage.grace_seconds
    delete_named_study(session.storage_handle, session.protocol.study_name, grace=grace)
    if is_whole:
        with writing(folder := session.paths.folder):
            folder.rename(free_name(folder))
    return True


def _foreign(session: StudySession) -> list[FrozenTrial]:
    handle = session.storage_handle
    return handle.get_trials(foreign_ids(handle.database, session.protocol.study_name))


def foreign_findings(session: StudySession) -> Iterator[Finding]:
    """Find trials that other programs have added to a study."""
    for trial in _foreign(session):
        where = f"study {session.protocol.study_name}, trial {trial.number}"
        state = state_name(trial)
        remedy = "left alone; no worker claims it or waits for it"
        if trial.state == TrialState.COMPLETE and SLOT in trial.user_attrs:
            remedy = "left alone; the next worker queues its slot again"
        elif trial.state.is_finished():
            remedy = "left alone; search, best, report and final ignore it"
        elif trial.state == TrialState.WAITING and session.is_search:
            remedy = "the next worker gives it a slot"
        yield Finding(where, f"{state}, the work of another program", remedy)


def other_budget(session: StudySession, trials: Sequence[Slot]) -> Iterator[Finding]:
    """Find missing slots of a study's queue, and slots beyond its budget."""
    protocol, handle = session.protocol, session.storage_handle
    where = f"study {protocol.study_name}"
    slots = {trial.slot for trial in trials}
    slots |= {int(one.user_attrs[SLOT]) for one in _foreign(session) if SLOT in one.user_attrs}
    budget = max(slots | {protocol.budget - 1}) + 1
    missing = sorted(set(range(budget)) - slots)

    def fill() -> bool:
        remove_orphans(handle.database)
        fill_queue(
            session.optuna_study(), build_points(session.config, range(budget)), first_slot=0
        )
        return True

    def raise_it() -> bool:
        raise_budget(handle.database, protocol.study_name, budget)
        return True

    if missing:
        shown = ", ".join(map(str, missing))
        what = f"{len(missing)} of {count(budget, 'slot')} missing in the queue ({shown})"
        study_id = session.optuna_study()._study_id
        every = handle.get_all_trials(study_id, deepcopy=False)
        numbers = [trial.number for trial in every]
        given = session.config.search.points
        known: tuple[dict[str, Any], ...] = ({}, nearest_params(session.config))
        with_params = any(trial.system_attrs.get(FIXED_PARAMS, {}) not in known for trial in every)
        if not session.is_search or (with_params and not given):
            yield Finding(where, what, "left alone, for their parameters are not known")
        elif sorted(numbers) != list(range(len(numbers))):  # Optuna counts to number a trial
            yield Finding(where, what, "left alone, for Optuna would give a number twice")
        else:
            yield Finding(where, what, "queued", fill)
    if budget > protocol.budget:
        n_more = count(budget - protocol.budget, "slot")
        what = f"{n_more} beyond the budget of {protocol.budget}, for an `extend` was cut off"
        yield Finding(where, what, f"added to the budget, which is {budget} then", raise_it)
