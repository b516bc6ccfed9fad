"""One worker: claim, run, tell; take over what others lost; leave when nothing is left.

The lease decides who runs a trial and is taken before Optuna's state follows, so a worker may die
between any two lines and another finds what it needs to go on.
"""

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from data.image_cache import PreparedData
from model.device import resolve_execution, set_threads
from model.errors import DivergedError
from model.training import EpochResult
from storage.errors import LeaseLostError
from storage.leases import Heartbeat, Lease, Owner, acquire, give_back
from study.errors import StudyError
from study.objective import TrialRun
from study.sampling import build_pruner, build_sampler
from study.session import StudySession
from study.stopping import StopFlag, StopRequested

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
MOST_FAILURES_IN_A_ROW = 10
TRACEBACK_CHARACTERS = 2000

Announce = Callable[[int, EpochResult], None]


@dataclass(frozen=True)
class Outcome:
    """How an attempt at a trial ended.

    Attributes:
        state: What Optuna is told; WAITING gives the trial back.
        value: Best validation macro-F1 of a complete trial.
        reason: Why it ended early: `kind` and `message`.
    """

    state: TrialState
    value: float | None = None
    reason: dict[str, str] | None = None


class Worker:
    """Works on a study until nothing waits and nothing runs.

    Args:
        session: The study.
        prepared: Its data.
        stop: Asked at every batch and between trials.
        announce: Told the trial's number and result after every epoch.
    """

    def __init__(
        self, session: StudySession, prepared: PreparedData, *, stop: StopFlag, announce: Announce
    ) -> None:
        self._session = session
        self._prepared = prepared
        self._stop = stop
        self._announce = announce
        self._owner = Owner.current()
        self._database = session.storage_handle.database
        self._optuna_study = session.optuna_study()
        self._optuna_study.pruner = build_pruner(session.config.search)
        self._failures_in_a_row = 0
        resolve_execution(session.config.execution)  # a missing device must cost no trial
        set_threads(session.config.workers.threads or 1)

    def work(self) -> None:
        """Run trials until the budget is done or the worker is asked to stop.

        Raises:
            StudyError: If ten trials in a row have failed.
        """
        while not self._stop.is_set:
            lease = self._claim()
            if lease is not None:
                self._attend(lease)
            elif not self._unfinished():
                return
            else:
                self._wait()

    def _unfinished(self) -> list[FrozenTrial]:
        return self._optuna_study.get_trials(
            deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING)
        )

    def _wait(self) -> None:
        until = time.monotonic() + POLL_SECONDS
        while time.monotonic() < until and not self._stop.is_set:
            time.sleep(0.1)

    def _claim(self) -> Lease | None:
        """Return a lease on a waiting trial, else on one that its worker has lost."""
        grace = self._session.config.storage.grace_seconds
        for trial in sorted(self._unfinished(), key=_waiting_first):
            lease = acquire(self._database, trial._trial_id, self._owner, grace_seconds=grace)
            if lease is not None and self._enter(lease):
                if lease.taken_over:
                    logger.info("took over trial %d from a lost worker", trial.number)
                return lease
        return None

    def _enter(self, lease: Lease) -> bool:
        """Let Optuna's state follow the lease; False where the trial needs no more work."""
        handle = self._session.storage_handle
        state = handle.get_trial(lease.trial_id).state
        if state.is_finished():
            give_back(self._database, lease)
            return False
        if state == TrialState.WAITING:
            handle.set_trial_state_values(lease.trial_id, TrialState.RUNNING)
        return True

    def _attend(self, lease: Lease) -> None:
        """Run a claimed trial and tell how it ended."""
        seconds = self._session.config.storage.heartbeat_seconds
        with Heartbeat(self._database, lease, seconds=seconds) as heartbeat:
            try:
                outcome = self._outcome(lease, heartbeat)
                heartbeat.confirm()
                self._tell(lease.trial_id, outcome)
            except LeaseLostError as error:
                logger.warning("%s", error)
                return
        give_back(self._database, lease)
        self._stop_after_many_failures(outcome)

    def _outcome(self, lease: Lease, heartbeat: Heartbeat) -> Outcome:
        """Run a trial; the one place where an exception becomes an outcome."""
        most = self._session.config.storage.max_retries
        if lease.fruitless_attempts > most:
            message = f"{lease.fruitless_attempts} attempts in a row were lost without a new epoch"
            return Outcome(TrialState.FAIL, reason={"kind": "lost", "message": message})
        try:
            return Outcome(TrialState.COMPLETE, value=self._run(lease, heartbeat))
        except StopRequested:
            return Outcome(TrialState.WAITING)
        except LeaseLostError:
            raise
        except optuna.TrialPruned as error:
            return Outcome(TrialState.PRUNED, reason={"kind": "pruned", "message": str(error)})
        except DivergedError as error:  # pruned, so that the sampler learns from it
            return Outcome(TrialState.PRUNED, reason={"kind": "diverged", "message": str(error)})
        except torch.OutOfMemoryError as error:
            first_line = str(error).splitlines()[0]
            return Outcome(
                TrialState.PRUNED, reason={"kind": "out of memory", "message": first_line}
            )
        except Exception as error:
            logger.exception("trial failed")
            tail = traceback.format_exc()[-TRACEBACK_CHARACTERS:]
            message = f"{type(error).__name__}: {error}"
            return Outcome(
                TrialState.FAIL,
                reason={"kind": "exception", "message": message, "traceback": tail},
            )

    def _run(self, lease: Lease, heartbeat: Heartbeat) -> float:
        frozen = self._session.storage_handle.get_trial(lease.trial_id)
        config = self._session.config
        self._optuna_study.sampler = build_sampler(
            config.search, seed=config.seed, number=frozen.number
        )
        trial = optuna.Trial(self._optuna_study, lease.trial_id)
        run = TrialRun(self._session, trial, self._prepared, stop=self._stop)
        return run(lease.trial_id, heartbeat, lambda result: self._announce(frozen.number, result))

    def _tell(self, trial_id: int, outcome: Outcome) -> None:
        handle = self._session.storage_handle
        if outcome.state == TrialState.WAITING:
            handle.set_trial_state_values(trial_id, TrialState.WAITING)
            return
        try:
            if outcome.reason is not None:
                handle.set_trial_user_attr(trial_id, "reason", outcome.reason)
            self._optuna_study.tell(
                handle.get_trial(trial_id).number,
                outcome.value,
                state=outcome.state,
                skip_if_finished=True,
            )
        except UpdateFinishedTrialError:  # our first answer arrived, its receipt did not
            logger.info("trial was told already")

    def _stop_after_many_failures(self, outcome: Outcome) -> None:
        failed = outcome.state == TrialState.FAIL
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
        if self._failures_in_a_row == MOST_FAILURES_IN_A_ROW and outcome.reason is not None:
            raise StudyError(
                f"{MOST_FAILURES_IN_A_ROW} trials in a row failed here, the last with "
                f"{outcome.reason['message']}: mend the cause, then start the worker again"
            )


def _waiting_first(trial: FrozenTrial) -> tuple[bool, int]:
    return trial.state != TrialState.WAITING, trial.number
