"""Which run of a study is exported: a finished trial, or a final run after its test."""

from dataclasses import dataclass
from typing import Any, Literal

from optuna.trial import TrialState

from storage.checkpoints import file_sha256, load_checkpoint
from storage.final_groups import first_runs
from storage.records import (
    IMPORTED_FROM,
    EpochRecord,
    read_epochs,
    study_names,
)
from storage.run_paths import TrialPaths
from storage.study_totals import Slot
from storage.test_evaluations import (
    TestEvaluation,
    read_tests,
)
from storage.trial_rows import STATE_NAMES, TrialRow, read_some
from study.configuration.config import Request
from study.configuration.fixed_trial import OutOfRangeError
from study.errors import StudyError
from study.session.location import Location
from study.session.session import StudySession, final_name, open_session
from study.session.suggested_commands import suggest_command
from study.trial.identity import Identity

MOST_NAMED = 10


@dataclass(frozen=True)
class KeptRun:
    """A finished run whose best weights are still there.

    Attributes:
        session: The study, or the queue of its final runs.
        row: The run.
        paths: Its files.
        checkpoint: Its best weights, with what is saved beside them.
        epoch: The epoch after which they were saved.
        test: Its test evaluation; None for a trial of the search.
    """

    session: StudySession
    row: TrialRow
    paths: TrialPaths
    checkpoint: dict[str, Any]
    epoch: EpochRecord
    test: TestEvaluation | None


def open_run(request: Request, session: StudySession, run: int | Literal["final"]) -> KeptRun:
    """Open the weights of a trial, or of the newest final run that was tested; only reads.

    Args:
        request: That opened the session.
        session: The searched study.
        run: Number of the trial, or `final`.

    Raises:
        StudyError: If there is no such run, or its weights are not there.
        StorageError: If the runs folder is rejected.
        CheckpointError: If the weights are damaged.
    """
    handle, name = session.storage_handle, session.protocol.study_name
    if run == "final":
        name = final_name(name)
        if name not in study_names(handle.database):
            raise no_tested_run(session)
    location = Location(session.config.storage, handle=handle, read_only=True)
    opened = open_session(request, name, location=location, with_runs=True)
    return open_tested(opened) if run == "final" else open_trial(opened, run)


def open_trial(session: StudySession, number: int) -> KeptRun:
    """Open the weights of a finished trial of the search.

    Args:
        session: The searched study.
        number: Of the trial.

    Raises:
        StudyError: If there is no such trial, if another study trained it, if it is not finished
            or has no weights, or if those in its folder are not its own.
        CheckpointError: If they are damaged.
    """
    slots = session.slots()
    slot = next((one for one in slots if one.number == number), None)
    if slot is None:
        raise _not_trained_here(session, number)
    if not slot.state.is_finished():
        state = slot.state.name.lower()
        raise StudyError(f"TRIAL must be finished, {number} is {state}: wait for its end")
    paths = session.trial_paths(slot.slot)
    if not paths.best.is_file():
        if slot.trial_id not in read_epochs(session.storage_handle.database, [slot.trial_id]):
            raise StudyError(
                f"TRIAL must have trained an epoch, {number} is {STATE_NAMES[slot.state]} and has "
                f"none, so it never had weights: {_kept(session, slots)}"
            )
        raise StudyError(
            f"TRIAL must have kept its weights, those of {number} are gone: "
            f"{_kept(session, slots)} (storage.kept_trials={session.config.storage.kept_trials})"
        )
    return _open(session, slot, test=None)


def _not_trained_here(session: StudySession, number: int) -> StudyError:
    handle, name = session.storage_handle, session.searched_name
    trials = handle.get_all_trials(handle.get_study_id_from_name(name), deepcopy=False)
    found = next((one for one in trials if one.number == number), None)
    origin = None if found is None else found.user_attrs.get(IMPORTED_FROM)
    if origin is not None:
        words = ("export", str(origin["trial"]), "--name", origin["study"], "--to", "FOLDER")
        command = suggest_command(*words, storage=session.config.storage)
        return StudyError(
            f"TRIAL must be one that study {name!r} trained, {number} is imported from study "
            f"{origin['study']!r}: export it there with `{command}`"
        )
    what = "is none" if found is None else "is of another program"
    command = suggest_command("trials", "--name", name, storage=session.config.storage)
    return StudyError(
        f"TRIAL must be a trial that study {name!r} has trained, {number} {what}: see `{command}`"
    )


def open_tested(final: StudySession) -> KeptRun:
    """Open the weights of the newest final run that was tested, of several the first named.

    Args:
        final: The queue of final runs.

    Raises:
        StudyError: If none was tested yet, or if the weights are not those that were.
        CheckpointError: If they are missing or damaged.
    """
    name, database = final.searched_name, final.storage_handle.database
    tests = {test.trial_id: test for test in read_tests(database, name) if test.metrics}
    slots = {
        one.trial_id: one
        for one in final.slots()
        if one.trial_id in tests
        and one.state == TrialState.COMPLETE
        and final.trial_paths(one.slot).metrics.is_file()
    }
    shipped = first_runs(read_some(final.storage_handle, [*slots]))
    if not shipped:
        raise no_tested_run(final)
    trial_id = shipped[-1].trial_id
    return _open(final, slots[trial_id], test=tests[trial_id])


def no_tested_run(session: StudySession) -> StudyError:
    """Return the error for a study whose final run is yet to come."""
    name = session.searched_name
    command = suggest_command("final", "--name", name, storage=session.config.storage)
    return StudyError(
        f"study {name!r} must have a final run that was tested, it has none: run `{command}` "
        "first, or name a TRIAL"
    )


def _kept(session: StudySession, slots: list[Slot]) -> str:
    kept = [
        str(slot.number)
        for slot in sorted(slots, key=lambda slot: (slot.value is None, -(slot.value or 0)))
        if slot.state.is_finished() and session.trial_paths(slot.slot).best.is_file()
    ]
    if not kept:
        return "no trial has kept its own"
    more = f" and {len(kept) - MOST_NAMED} more" if len(kept) > MOST_NAMED else ""
    return f"kept are, the best first, those of {', '.join(kept[:MOST_NAMED])}{more}"


def _open(session: StudySession, slot: Slot, *, test: TestEvaluation | None) -> KeptRun:
    paths, handle = session.trial_paths(slot.slot), session.storage_handle
    checkpoint = load_checkpoint(paths.best)
    records = read_epochs(handle.database, [slot.trial_id]).get(slot.trial_id, [])
    epoch = next((one for one in records if one.epoch == checkpoint.get("epoch")), None)
    foreign = _why_foreign(session, slot, checkpoint, n_recorded=len(records))
    if test is not None and file_sha256(paths.best) != test.checkpoint_sha256:
        foreign = "their hash is another one than at the test"
    if foreign is not None or epoch is None:
        raise StudyError(
            f"{paths.best} must hold the weights of this run ({foreign or 'no recorded epoch'}): "
            "restore the file, or export another run"
        )
    (row,) = read_some(handle, [slot.trial_id])
    return KeptRun(session, row, paths, checkpoint, epoch, test)


def _why_foreign(
    session: StudySession, slot: Slot, checkpoint: dict[str, Any], *, n_recorded: int
) -> str | None:
    trial = session.storage_handle.get_trial(slot.trial_id)
    try:
        return Identity.of_trial(session, trial).why_foreign(checkpoint, n_recorded)
    except OutOfRangeError:
        return "the trial has no hyperparameters"
