"""The long run of the winner, which ends with its one test.

A final run is a study of its own with a queue of one given point, so it is claimed, resumed and
recorded like any trial. Its test evaluation is claimed in the database before the split is opened.
"""

import time
from collections.abc import Callable

from optuna.trial import FrozenTrial, TrialState

from dashboards.analysis.status import read_status
from data.image_cache import PreparedData
from data.split_writer import Track, no_progress
from storage.leases import Heartbeat, acquire, end
from storage.lost_workers import Watch
from storage.optuna_rows import SLOT
from storage.own_study import own_trials
from storage.process_identity import Owner
from storage.test_evaluations import (
    read_tests,
)
from storage.trial_rows import TrialRow
from study.configuration.config import StudyConfig
from study.creation.create import initialise
from study.creation.extend import extend
from study.creation.queue import Point
from study.errors import ProtocolError, StudyError
from study.final.test_evaluation import FinalResult, take_test
from study.final.unknown_test_results import (
    forgotten_slots,
    forgotten_tests,
    reject_forgotten,
    remember_tests,
)
from study.session.protocol import reject_missing_folder
from study.session.session import StudySession, final_name
from study.stop_signal import StopFlag
from study.trial.dashboard_notes import note_test
from study.workers.worker import Announce, Worker

FIRST_REASON = "the first final run of the study"


def final_config(config: StudyConfig) -> StudyConfig:
    """Return the configuration of a study's final runs: longer, at full size, nothing pruned."""
    return config.replacing(
        {
            "data.image_size": config.final.image_size,
            "search.n_epochs": config.final.n_epochs,
            "search.budget": {"trials": 1},
            "search.pruner": "none",
            "workers.n_workers": 1,
            "workers.threads": None,
        }
    )


def open_final(
    session: StudySession, winner: TrialRow, *, reopen: str | None, track: Track = no_progress
) -> StudySession:
    """Queue the final run of a winner, or find the one that is queued.

    A run that failed has not seen the test split, so another is queued without asking. The same
    call after its run is over changes nothing.

    Args:
        session: The searched study.
        winner: Its winner.
        reopen: Why another run may see the test split after an earlier one has.
        track: Shows the progress of the decoding.

    Raises:
        ProtocolError: If another trial has the final run and no reason is given, if the runs
            folder holds a test result that the database does not know and no reason is given, if
            its length or size is not what was queued, or if the folder of the data is not there.
    """
    reject_missing_folder(session.protocol, session.config)
    name = session.protocol.study_name
    reason = reopen or FIRST_REASON
    point = Point(winner.params, {"searched_trial": winner.number, "test_reason": reason})
    runs = _queued(session)
    forgotten = forgotten_tests(session)
    if reopen is None and not (runs and _is_tested(session, runs[-1])):
        reject_forgotten(forgotten)
    slots = forgotten_slots(forgotten)
    try:
        opened = initialise(
            final_config(session.config),
            location=session.location,
            name=final_name(name),
            points=[point] * len(runs) or [*slots, point],
            track=track,
        )
    except ProtocolError as error:
        raise ProtocolError(f"a final run stays as it was queued: {error}") from None
    if reopen is not None and forgotten:
        opened = extend(opened, slots[opened.protocol.budget :])
        remember_tests(opened, forgotten)
    last = _queued(session)[-1]
    has_failed = last.state in (TrialState.FAIL, TrialState.PRUNED)
    if has_failed and not _is_tested(session, last):
        return extend(opened, [point])
    searched_trial = last.user_attrs["searched_trial"]
    is_the_same = searched_trial == winner.number and reopen in (
        None,
        last.user_attrs["test_reason"],
    )
    if (is_the_same and not has_failed) or not last.state.is_finished():
        return opened
    if reopen is None:
        raise ProtocolError(
            f"the final run of study {name!r} is that of trial "
            f"{searched_trial}, the winner is now trial {winner.number}: "
            "add `--reopen REASON` for another final run"
        )
    return extend(opened, [point])


def _is_tested(session: StudySession, run: FrozenTrial) -> bool:
    tests = read_tests(session.storage_handle.database, session.searched_name)
    return any(test.trial_id == run._trial_id for test in tests)


def _queued(session: StudySession) -> list[FrozenTrial]:
    """Return the final runs of a study in the order of their slots."""
    handle = session.storage_handle
    names = {study.study_name: study._study_id for study in handle.get_all_studies()}
    study_id = names.get(final_name(session.protocol.study_name))
    if study_id is None:
        return []
    runs = own_trials(handle.get_all_trials(study_id))
    return sorted(runs, key=lambda run: int(run.user_attrs[SLOT]))


def run_final(
    final: StudySession,
    prepared: PreparedData,
    *,
    stop: StopFlag,
    announce: Announce,
    tell: Callable[[str], None] = lambda _text: None,
) -> FinalResult | None:
    """Train the queued final runs and test the last one.

    Args:
        final: The queue of final runs.
        prepared: Its data.
        stop: Polled at every batch.
        announce: Told the number and result of every epoch.
        tell: Told what is done beside training, which may take long.

    Returns:
        The result; None where the run was stopped before its end.

    Raises:
        StudyError: If the run failed.
    """
    _tell_who_trains(final, tell)
    Worker(final, prepared, stop=stop, announce=announce).work()
    runs = final.optuna_study().get_trials(deepcopy=False)
    run = max(runs, key=lambda trial: int(trial.user_attrs[SLOT]))
    if not run.state.is_finished():
        return None
    if run.state != TrialState.COMPLETE:
        reason = run.user_attrs.get("reason", {}).get("message", "unknown")
        raise StudyError(
            f"the final run ended {run.state.name.lower()} ({reason}): "
            "fix the cause; the same command queues another"
        )
    return _test(final, prepared, run, stop=stop, tell=tell)


def _tell_who_trains(final: StudySession, tell: Callable[[str], None]) -> None:
    """Name another process that trains a final run, whose end is waited for."""
    for trial in read_status(final.storage_handle, final.protocol.study_name).running_trials:
        if trial.is_alive:
            where = f"process {trial.pid} on {trial.host}"
            done = f"{trial.epoch} of {trial.n_epochs} epochs are done"
            tell(f"{where} trains this final run, {done}: waiting for its end")


def _test(
    final: StudySession,
    prepared: PreparedData,
    run: FrozenTrial,
    *,
    stop: StopFlag,
    tell: Callable[[str], None],
) -> FinalResult | None:
    """Take the test, or wait for the process that takes it; None after a stop signal."""
    database = final.storage_handle.database
    place = final.config.storage
    watch = Watch(
        database,
        heartbeat_seconds=place.heartbeat_seconds,
        grace_seconds=place.grace_seconds,
    )
    is_told = False
    while not stop.is_set:
        held = watch.poll().get(run._trial_id)
        if held is None or watch.is_lost(held):
            lease = acquire(database, run._trial_id, Owner.current(), lost=held)
            if lease is not None:
                break
        elif not is_told:
            is_told = True
            tell(f"{Owner.parse(held.owner).describe()} takes the test: waiting for it")
        time.sleep(min(1.0, place.heartbeat_seconds))
    else:
        return None
    seconds = place.heartbeat_seconds
    ending = "test cut off"
    try:
        with Heartbeat(database, lease, seconds=seconds, between=watch.poll) as heartbeat:
            if not _is_tested(final, run):
                tell("the training is over: evaluating on the validation and the test images")
            result = take_test(final, prepared, run)
            note_test(final, heartbeat, run, result.metrics)
        ending = "tested"
    finally:
        end(database, lease, ending)
    return result
