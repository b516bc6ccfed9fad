"""One worker: claim, run, finish; leave when nothing is left, or on a signal."""

import logging
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from data.errors import DamagedFolderError
from data.image_cache import PreparedData
from model.device import is_out_of_memory, resolve_execution, set_threads
from model.errors import DivergedError
from model.training import EpochResult
from storage.database import is_transient
from storage.errors import LeaseLostError, first_line
from storage.leases import (
    ERROR,
    RELEASED,
    Heartbeat,
    Lease,
    end,
    is_fruitless,
    is_held,
    is_lost,
    read_endings,
    release,
)
from storage.run_folders import reject_unwritable
from storage.trial_rows import STATE_NAMES
from study.errors import StudyError, WorkerStoppedError
from study.log_lines import about_trial, note
from study.session.enqueue import adopt_enqueued, requeue_finished_elsewhere
from study.session.session import StudySession
from study.stop_signal import StopFlag, StopRequested
from study.trial.dashboard_notes import note_finished_trials, note_trial
from study.trial.epoch_sinks import TrialPaused
from study.trial.faults import TrainingError, describe, is_environment
from study.trial.objective import TrialRun
from study.trial.samplers import build_pruner, build_sampler, skip_draws
from study.workers.checkpoint_retention import keep_best_checkpoints
from study.workers.claims import Claimant, build_queue
from study.workers.core_watch import CoreWatch
from study.workers.exit_reasons import describe_losses
from study.workers.outcome import BEST_SCORE, JUDGED_SCORE, Outcome

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
MOST_FAILURES_IN_A_ROW = 10
TRACEBACK_CHARACTERS = 2000
DONE = "nothing waits and nothing runs: the budget is spent"
IDLE = "nothing waits (--leave-when-idle)"

Announce = Callable[[int, EpochResult], None]


class Worker:
    """Works on a study until nothing waits and nothing runs.

    Args:
        session: The study.
        prepared: Its data.
        stop: Polled at every batch and between trials.
        announce: Told the trial's number and result after every epoch.
        leave_when_idle: Whether to leave as soon as nothing waits, though others still run.
    """

    def __init__(
        self,
        session: StudySession,
        prepared: PreparedData,
        *,
        stop: StopFlag,
        announce: Announce,
        leave_when_idle: bool = False,
    ) -> None:
        self._session = session
        self._prepared = prepared
        self._stop = stop
        self._announce = announce
        self._leave_when_idle = leave_when_idle
        self._database = session.storage_handle.database
        self._database.leave_when(lambda: stop.is_set)
        self._optuna_study = session.sampled_study()
        self._optuna_study.pruner = build_pruner(session.config)
        self._queue = build_queue(session)
        self._claimant = Claimant(
            session.storage_handle, self._optuna_study, session.config.storage, self._queue
        )
        self._failures_in_a_row = 0
        self._tidied: set[int] = set()
        # A missing device, or a folder that cannot be written, must cost no trial.
        resolve_execution(session.config.execution)
        reject_unwritable(session.paths)
        n_threads = session.config.workers.threads or 1
        set_threads(n_threads)
        self._cores = CoreWatch(n_threads)

    def work(self) -> None:
        """Run trials until the budget is done or a stop signal comes.

        Raises:
            StudyError: If ten trials in a row have failed.
            StorageError: If a worker of another machine uses the same SQLite file.
            WorkerStoppedError: If disk, data or database fail; the trial is released.
            StudyDeletedError: If somebody has deleted the study.
        """
        try:
            note(f"leaves: {self._work()}")
        except KeyError:  # a row is missing
            self._reject_deleted()
            raise

    def _reject_deleted(self) -> None:
        session = self._session
        session.location.reject_deleted(session.protocol)

    def _work(self) -> str:
        """Run trials; return why none is left for this worker."""
        while self._stop.leaves_time_for(self._session.longest_epoch_seconds):
            adopt_enqueued(self._session)
            lease = self._claimant.claim()
            if lease is not None:
                self._attend(lease)
            elif requeue_finished_elsewhere(self._session):
                continue
            elif self._claimant.is_over(when_idle=self._leave_when_idle):
                self._reject_deleted()
                self._tidy_closed()
                return IDLE if self._leave_when_idle else DONE
            else:
                self._wait()
        return self._stop.reason

    def _tidy_closed(self) -> None:
        """Write the notes of the trials that were finished while they waited, and tidy them."""
        if closed := self._claimant.closed:
            note_finished_trials(self._session, closed)
            keep_best_checkpoints(self._session, self._tidied)

    def _wait(self) -> None:
        # Poll at least once per heartbeat: lost-worker detection needs observations without gaps.
        seconds = min(POLL_SECONDS, self._session.config.storage.heartbeat_seconds)
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stop.is_set:
            time.sleep(0.05)

    def _attend(self, lease: Lease) -> None:
        """Run a claimed trial and report how it ended."""
        seconds = self._session.config.storage.heartbeat_seconds
        poll = self._claimant.watch.poll
        heartbeat = Heartbeat(self._database, lease, seconds=seconds, between=poll)
        with heartbeat, ExitStack() as named:
            try:
                named.enter_context(about_trial(self._number(lease), lease.attempt))
                note("claimed")
                outcome = self._outcome(lease, heartbeat)
                heartbeat.confirm()
                self._note(lease, heartbeat, outcome)
                self._finish(lease, outcome)
                note(outcome.line)
            except LeaseLostError as error:
                logger.warning("%s", error)
                return
            except TrialPaused as pause:
                note(str(pause))
                return
            except Exception as error:
                if self._release(lease, error):
                    raise
                return
        if outcome.state.is_finished():
            keep_best_checkpoints(self._session, self._tidied)
        self._stop_after_many_failures(lease, outcome)

    def _number(self, lease: Lease) -> int:
        return self._session.storage_handle.get_trial(lease.trial_id).number

    def _outcome(self, lease: Lease, heartbeat: Heartbeat) -> Outcome:
        """Run a trial; the one place where an exception becomes an outcome.

        Only what training this configuration raises is one; anything else passes through, until
        the trial has met nothing else for as often as a lost one is retried.
        """
        if lease.fruitless_attempts > self._session.config.storage.max_retries:
            message = self._describe_attempts(lease)
            return Outcome(TrialState.FAIL, "lost", message=message)
        try:
            value = self._run(lease, heartbeat)
            measure = JUDGED_SCORE if self._session.is_confirmation else BEST_SCORE
            return Outcome(TrialState.COMPLETE, "complete", value, measure=measure)
        except StopRequested:
            return Outcome(TrialState.WAITING, "preempted")
        except DamagedFolderError as error:  # whole again when the next attempt opens the images
            logger.warning("%s: the trial is released", error)
            return Outcome(TrialState.WAITING, "preempted")
        except (LeaseLostError, TrialPaused):
            raise
        except UpdateFinishedTrialError:
            message = "another program finished the trial"
            return Outcome(TrialState.FAIL, "finished elsewhere", message=message)
        except optuna.TrialPruned as error:
            return Outcome(TrialState.PRUNED, "pruned", message=str(error))
        except DivergedError as error:  # pruned, so that the sampler learns from it
            return Outcome(TrialState.PRUNED, "diverged", message=str(error))
        except Exception as error:
            if is_out_of_memory(error):
                return self._out_of_memory(lease, first_line(error))
            if not isinstance(error, TrainingError) and not self._is_met_again(lease, error):
                raise
            logger.exception("trial failed")
            tail = traceback.format_exc()[-TRACEBACK_CHARACTERS:]
            message = describe(error)
            return Outcome(TrialState.FAIL, "exception", message=message, traceback=tail)

    def _describe_attempts(self, lease: Lease) -> str:
        """Say how the attempts ended that make this one the last."""
        endings = read_endings(self._database, [lease.trial_id])[lease.trial_id]
        ends = [end for end in endings if end is not None and (is_lost(end) or end == ERROR)]
        lost = [end for end in ends[-lease.fruitless_attempts :] if is_lost(end)]
        met = f"{lease.fruitless_attempts} attempts in a row met an error, without a new epoch"
        return describe_losses(lost) if lost else met

    def _is_met_again(self, lease: Lease, error: Exception) -> bool:
        """Return whether a trial meets nothing but errors, and would stop every worker in turn."""
        is_last = lease.fruitless_attempts >= self._session.config.storage.max_retries
        return is_last and not is_environment(error) and is_fruitless(self._database, lease)

    def _release(self, lease: Lease, error: Exception) -> bool:
        """Release a trial that met what is not its fault.

        Returns:
            False where another worker has reclaimed it, and perhaps removed a file under this one.

        Raises:
            WorkerStoppedError: From an error of the environment, save for an outage.
        """
        is_known = is_environment(error)
        self._database.leave_when(lambda: True)  # an outage has been waited out before
        try:
            if not is_held(self._database, lease):
                self._database.leave_when(lambda: self._stop.is_set)
                logger.warning("the trial was reclaimed by another worker: dropped here")
                return False
            release(self._database, lease, RELEASED if is_known else ERROR)
            said = "its trial is released"
        except Exception:  # the database, which is what failed or fails too
            said = "its trial is reclaimed when its lease is stale"
        if is_known and not is_transient(error):
            remedy = f"the worker stops, {said}: start another when the cause is fixed"
            raise WorkerStoppedError(f"{describe(error)}; {remedy}") from error
        logger.warning("the worker stops, %s", said)
        return True

    def _out_of_memory(self, lease: Lease, message: str) -> Outcome:
        """Try once more, for neighbours may have filled the device; then let the sampler learn."""
        endings = read_endings(self._database, [lease.trial_id])[lease.trial_id]
        again = "out of memory" not in endings
        self._claimant.put_off(lease.trial_id)
        state = TrialState.WAITING if again else TrialState.PRUNED
        logger.warning("out of memory%s: %s", ", the trial waits again" if again else "", message)
        return Outcome(state, "out of memory", message=message)

    def _run(self, lease: Lease, heartbeat: Heartbeat) -> float:
        number = self._number(lease)
        config, seed = self._session.config, self._session.sampling_seed
        self._optuna_study.sampler = build_sampler(config.search, seed=seed, number=number)
        trial = optuna.Trial(self._optuna_study, lease.trial_id)
        skip_draws(trial)
        run = TrialRun(self._session, trial, self._prepared, stop=self._stop, queue=self._queue)
        return run(lease.trial_id, heartbeat, partial(self._say_epoch, number))

    def _say_epoch(self, number: int, result: EpochResult) -> None:
        self._announce(number, result)
        if (caution := self._cores.look()) is not None:
            logger.warning("%s", caution)

    def _note(self, lease: Lease, heartbeat: Heartbeat, outcome: Outcome) -> None:
        """Write the note of a trial that ends."""
        if outcome.state.is_finished():
            state, reason = STATE_NAMES[outcome.state], outcome.reason
            note_trial(self._session, heartbeat, lease.trial_id, state=state, reason=reason)

    def _finish(self, lease: Lease, outcome: Outcome) -> None:
        if outcome.state == TrialState.WAITING:
            release(self._database, lease, outcome.ending)
            return
        handle = self._session.storage_handle
        try:
            if outcome.reason is not None:
                handle.set_trial_user_attr(lease.trial_id, "reason", outcome.reason)
            self._optuna_study.tell(
                self._number(lease),
                outcome.value,
                state=outcome.state,
                skip_if_finished=True,
            )
        except UpdateFinishedTrialError:  # our first answer arrived, its receipt did not
            logger.info("trial was finished already")
        end(self._database, lease, outcome.ending)

    def _stop_after_many_failures(self, lease: Lease, outcome: Outcome) -> None:
        failed = outcome.state == TrialState.FAIL or self._spends_nothing(lease, outcome)
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
        if self._failures_in_a_row == MOST_FAILURES_IN_A_ROW:
            raise StudyError(
                f"{MOST_FAILURES_IN_A_ROW} trials in a row failed here, the last with "
                f"{outcome.message}: fix the cause, then start the worker again"
            )

    def _spends_nothing(self, lease: Lease, outcome: Outcome) -> bool:
        """Return whether a trial ended before its first epoch where only epochs are counted.

        A search in which all do would never end.
        """
        if self._session.protocol.limit.unit == "trials" or not outcome.state.is_finished():
            return False
        return not self._session.storage_handle.get_trial(lease.trial_id).intermediate_values
