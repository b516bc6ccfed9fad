"""The long runs of the winner, and of a control, which end with their one test.

Final runs are a study of their own with a queue of given points, so they are claimed, resumed and
recorded like any trials. Their test is claimed in the database, once for all that were queued
together, before the split is opened.
"""

import time
from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from dashboards.analysis.status import read_status
from data.image_cache import PreparedData
from data.split_writer import Track, no_progress
from storage.database import Database
from storage.leases import Heartbeat, Lease, acquire, end
from storage.lost_workers import Watch
from storage.process_identity import Owner
from storage.trial_rows import TrialRow
from study.configuration.config import StudyConfig
from study.creation.create import initialise
from study.creation.extend import extend, extend_from
from study.creation.queue import Point
from study.errors import ProtocolError, StudyError
from study.final.queued_runs import (
    FAILED,
    Plan,
    is_control,
    is_tested,
    missing_roles,
    newest_group,
    next_points,
    not_failed,
    read_queue,
)
from study.final.test_evaluation import FinalResult, take_tests
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


def final_config(config: StudyConfig) -> StudyConfig:
    """Return the configuration of a study's final runs: longer, at full size, nothing pruned.

    Without `final.threads`, a queue counts the cores when it is created.
    """
    return config.replacing(
        {
            "data.image_size": config.final.image_size,
            "search.n_epochs": config.final.n_epochs,
            "search.budget": {"trials": 1},
            "search.pruner": "none",
            "workers.n_workers": 1,
            "workers.threads": config.final.threads,
        }
    )


def open_final(
    session: StudySession,
    winner: TrialRow,
    *,
    reopen: str | None,
    seeds: int | None = None,
    with_control: bool = False,
    track: Track = no_progress,
) -> StudySession:
    """Queue the final runs of a winner, or find those that are queued.

    A run that failed has not seen the test split, so another is queued without asking. The same
    call after the test changes nothing.

    Args:
        session: The searched study.
        winner: Its winner.
        reopen: Why other runs may see the test split after earlier ones have.
        seeds: Runs of each configuration; default as queued, or as configured.
        with_control: Whether the configured values are trained too, where they are not the
            winner's.
        track: Shows the progress of the decoding.

    Raises:
        ProtocolError: If another trial has the final runs and no reason is given, if other seeds
            or a control were asked for when they were queued, if the runs folder holds a test
            result that the database does not know and no reason is given, if length, size or
            threads are not what was queued, or if the folder of the data is not there.
    """
    reject_missing_folder(session.protocol, session.config)
    has_control = with_control and not is_control(session, winner)
    plan = Plan(session, winner, reopen, seeds, has_control)
    runs = read_queue(session)
    forgotten = forgotten_tests(session)
    if reopen is None and not (runs and is_tested(session, newest_group(runs))):
        reject_forgotten(forgotten)
    slots = forgotten_slots(forgotten)
    try:
        opened = initialise(
            final_config(session.config),
            location=session.location,
            name=final_name(session.protocol.study_name),
            points=[*slots, *plan.new_group(len(slots))],
            gives_budget=False,
            track=track,
        )
    except ProtocolError as error:
        raise ProtocolError(f"a final run stays as it was queued: {error}") from None
    if reopen is not None and forgotten:
        opened = extend(opened, slots[opened.protocol.budget :])
        remember_tests(opened, forgotten)

    def add(budget: int) -> list[Point]:
        return next_points(plan, read_queue(session), budget)

    return extend_from(opened, add) if add(opened.protocol.budget) else opened


def run_final(
    final: StudySession,
    prepared: PreparedData,
    *,
    stop: StopFlag,
    announce: Announce,
    tell: Callable[[str], None] = lambda _text: None,
) -> FinalResult | None:
    """Train the queued final runs, then test those of the newest group together.

    Args:
        final: The queue of final runs.
        prepared: Its data.
        stop: Polled at every batch.
        announce: Told the number and result of every epoch.
        tell: Told what is done beside training, which may take long.

    Returns:
        The result of the first; None where it was stopped before the end of all.

    Raises:
        StudyError: If a run failed.
    """
    _tell_who_trains(final, tell)
    Worker(final, prepared, stop=stop, announce=announce).work()
    members = newest_group(read_queue(final))
    if not all(run.state.is_finished() for run in members):
        return None
    if missing_roles(members):
        run = next(run for run in members[::-1] if run.state in FAILED)
        reason = run.user_attrs.get("reason", {}).get("message", "unknown")
        raise StudyError(
            f"the final run ended {run.state.name.lower()} ({reason}): "
            "fix the cause; the same command queues another"
        )
    return _test(final, prepared, not_failed(members), stop=stop, tell=tell)


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
    runs: Sequence[FrozenTrial],
    *,
    stop: StopFlag,
    tell: Callable[[str], None],
) -> FinalResult | None:
    """Take the test of a group, or wait for the process that takes it; None after a stop signal.

    The lease of its first run stands for all of them.
    """
    database = final.storage_handle.database
    seconds = final.config.storage.heartbeat_seconds
    watch = Watch(
        database, heartbeat_seconds=seconds, grace_seconds=final.config.storage.grace_seconds
    )
    lease = _await_lease(database, runs[0]._trial_id, watch, seconds, stop=stop, tell=tell)
    if lease is None:
        return None
    ending = "test cut off"
    try:
        with Heartbeat(database, lease, seconds=seconds, between=watch.poll) as heartbeat:
            if not is_tested(final, runs):
                tell("the training is over: evaluating on the validation and the test images")
            results = take_tests(final, prepared, runs)
            for run, result in zip(runs, results, strict=True):
                note_test(final, heartbeat, run, result.metrics)
        ending = "tested"
    finally:
        end(database, lease, ending)
    return results[0]


def _await_lease(
    database: Database,
    trial_id: int,
    watch: Watch,
    seconds: float,
    *,
    stop: StopFlag,
    tell: Callable[[str], None],
) -> Lease | None:
    """Return the lease of a test, once no other process takes it; None after a stop signal."""
    is_told = False
    while not stop.is_set:
        held = watch.poll().get(trial_id)
        if held is None or watch.is_lost(held):
            lease = acquire(database, trial_id, Owner.current(), lost=held)
            if lease is not None:
                return lease
        elif not is_told:
            is_told = True
            tell(f"{Owner.parse(held.owner).describe()} takes the test: waiting for it")
        time.sleep(min(1.0, seconds))
    return None
