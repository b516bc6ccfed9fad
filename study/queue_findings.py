"""Queues that a cut-off `init`, `fork` or `extend` has left, and rows without a trial.

The caller holds the init lock, so that nobody is filling a queue.
"""

from collections.abc import Iterator, Sequence

from optuna.trial import FrozenTrial, TrialState

from dashboards.trials import FIXED_PARAMS
from storage.orphans import count_orphans, remove_orphans
from storage.records import raise_budget, study_names
from storage.study_storage import SLOT, StudyStorage, is_ours
from storage.study_totals import Slot
from study.findings import Finding, count
from study.initialisation import fill_queue, places
from study.session import StudySession, final_name


def half_studies(handle: StudyStorage, *, named: str | None) -> Iterator[Finding]:
    """Find Optuna studies of ours without a protocol.

    Args:
        handle: The database.
        named: The study that is asked for, whose name may thus be taken for ours.
    """
    whole = set(study_names(handle.database))
    asked_for = set() if named is None else {named, final_name(named)}
    for study in handle.get_all_studies():
        name, study_id = study.study_name, study._study_id
        if name in whole:
            continue
        trials = handle.get_all_trials(study_id, deepcopy=False)
        where = f"study {name}"
        if not all(map(is_ours, trials)):
            continue  # another program's

        def delete(study_id: int = study_id) -> bool:
            handle.delete_study(study_id)
            remove_orphans(handle.database)
            return True

        if any(_has_run(trial) for trial in trials):
            yield Finding(where, "has trials that have run but no protocol", "left alone")
        elif trials or name in asked_for:
            places = count(len(trials), "trial")
            yield Finding(where, f"cut off before its protocol, with {places}", "deleted", delete)
        else:
            yield Finding(
                where,
                "has neither trials nor a protocol",
                f"left alone, for it may be another program's; --name {name} --repair deletes it",
            )


def _has_run(trial: FrozenTrial) -> bool:
    return SLOT in trial.user_attrs and trial.state != TrialState.WAITING


def orphaned_rows(handle: StudyStorage) -> Iterator[Finding]:
    """Find attempts and epochs of trials that are no longer there."""
    orphans = count_orphans(handle.database)

    def remove() -> bool:
        remove_orphans(handle.database)
        return True

    if orphans.n_attempts or orphans.n_epochs:
        rows = f"{count(orphans.n_attempts, 'attempt')} and {count(orphans.n_epochs, 'epoch')}"
        yield Finding("database", f"{rows} of trials that it no longer has", "deleted", remove)


def other_budget(session: StudySession, trials: Sequence[Slot]) -> Iterator[Finding]:
    """Find places that are missing in a study's queue, or beyond its budget."""
    protocol, handle = session.protocol, session.storage_handle
    where = f"study {protocol.study_name}"
    slots = {trial.slot for trial in trials}
    budget = max(slots | {protocol.budget - 1}) + 1
    missing = sorted(set(range(budget)) - slots)

    def fill() -> bool:
        remove_orphans(handle.database)
        fill_queue(session.optuna_study(), places(session.config, range(budget)), first_slot=0)
        return True

    def raise_it() -> bool:
        raise_budget(handle.database, protocol.study_name, budget)
        return True

    if missing:
        shown = ", ".join(map(str, missing))
        what = f"{len(missing)} of {count(budget, 'place')} missing in the queue ({shown})"
        every = session.optuna_study().get_trials(deepcopy=False)
        numbers = [trial.number for trial in every]
        given = session.config.search.space == "given"
        with_params = any(FIXED_PARAMS in trial.system_attrs for trial in every)
        if session.is_final or (with_params and not given):
            yield Finding(where, what, "left alone, for their parameters are not known")
        elif sorted(numbers) != list(range(len(numbers))):  # Optuna counts to number a trial
            yield Finding(where, what, "left alone, for Optuna would give a number twice")
        else:
            yield Finding(where, what, "queued", fill)
    if budget > protocol.budget:
        n_more = count(budget - protocol.budget, "place")
        what = f"{n_more} beyond the budget of {protocol.budget}, for an `extend` was cut off"
        yield Finding(where, what, f"added to the budget, which is {budget} then", raise_it)
