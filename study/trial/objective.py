"""One trial: build, resume, loop over epochs, hand each result to the sinks, return the value."""

import json
import logging
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from typing import Any

import optuna

from dashboards.analysis.confirmation.reading import CONFIRMS
from dashboards.tensorboard.writer import TensorBoardLog
from data.image_cache import PreparedData
from model.device import describe_execution
from model.errors import DivergedError
from model.network import count_parameters
from model.training_state import BestEpoch, EpochResult, TrainingState
from model.weight_digest import digest_weights
from storage.atomic_files import write_atomically, writing
from storage.group_rights import make_folders
from storage.leases import Heartbeat
from storage.optuna_rows import BEST_EPOCH, EXECUTION, LAST_WEIGHTS
from storage.records import read_protocol
from storage.run_paths import TrialPaths
from storage.trial_queue import TrialQueue
from study.configuration.config import as_stored
from study.configuration.points import LABEL, configured_by
from study.errors import StudyError
from study.session.session import StudySession
from study.session.versions import git_revision, source_digest, versions
from study.stop_signal import StopFlag
from study.trial.epoch_sinks import Confirm, EpochSink, ReportAndPrune, SaveCheckpoint, ShowEpoch
from study.trial.faults import training
from study.trial.hparams import build_hparams, row_name
from study.trial.identity import Identity, load_own
from study.trial.judged import judge_run
from study.trial.pruning_audit import is_audited
from study.trial.trial_training import TrialTraining

logger = logging.getLogger(__name__)


class TrialRun:
    """One trial on its way through a worker.

    Args:
        session: The study.
        trial: Optuna's trial.
        prepared: The study's data.
        stop: Polled at every batch.
        queue: Decides whether the trial pauses; None: it never does.
    """

    def __init__(
        self,
        session: StudySession,
        trial: optuna.Trial,
        prepared: PreparedData,
        *,
        stop: StopFlag,
        queue: TrialQueue | None = None,
    ) -> None:
        self._session = session
        self._trial = trial
        self._prepared = prepared
        self._stop = stop
        self._queue = queue
        with training():
            self.config, self.settings = configured_by(trial, session.config)
        slot = int(trial.user_attrs["slot"])
        self.identity = Identity.of(session, self.config, slot)
        self.seed = self.identity.run.seed
        self.paths: TrialPaths = session.trial_paths(slot)

    def __call__(
        self, trial_id: int, heartbeat: Heartbeat, announce: Callable[[EpochResult], None]
    ) -> float:
        """Train to the end.

        Returns:
            The best validation macro-F1 of all epochs; of a run that confirms, see `judge_run`.

        Raises:
            TrialPruned: If the pruner gives the trial up.
            TrialPaused: If others go on before it.
            StopRequested: If a stop signal came.
            LeaseLostError: If another worker has taken the trial over.
            DivergedError: If the loss is not finite.
            TrainingError: If training the configuration fails otherwise.
        """
        database, runs = self._session.storage_handle.database, self._session.paths
        study_key = read_protocol(database, self._session.searched_name).study_key
        runs.check(study_key)
        trained = self._start_or_resume()
        state = trained.state
        self._describe(state)
        report = ReportAndPrune(
            self._trial.study,
            self._session.storage_handle,
            trial_id,
            heartbeat,
            is_over=self._is_over,
            is_audited=is_audited(self._session.config, self.identity.run.slot),
            queue=self._queue,
        )
        with (
            closing(
                TensorBoardLog(
                    self.paths.tensorboard,
                    next_epoch=state.epochs_done + 1,
                    n_classes=len(self._prepared.class_names),
                )
            ) as log,
            closing(trained.epochs(self._leaves_time)) as epochs,
        ):
            sinks: tuple[EpochSink, ...] = (
                Confirm(heartbeat, runs, study_key),
                ShowEpoch(log, self.paths, announce),
                SaveCheckpoint(self.paths, self._header()),
                lambda _result, state: self._leave_at_rung(state, log),
                report,
            )
            try:
                self._leave_at_rung(state, log)
                report.catch_up(state)
                for result in epochs:
                    for sink in sinks:
                        sink(result, state)
            except DivergedError:  # within an epoch, so its weights are those of none
                self._conclude(state, log)
                raise
            except optuna.TrialPruned:
                self._conclude(state, log)
                self._record_weights(state)
                raise
            self._conclude(state, log)
            self._record_weights(state)
        if state.best is None:
            raise RuntimeError("a trial without an epoch cannot have a value")
        confirms = self._trial.user_attrs.get(CONFIRMS)
        if confirms is not None:
            heartbeat.confirm()
            return judge_run(
                confirms, state, self.config, self._prepared, self.paths, stop=self._stop
            )
        if state.epochs_done < self.config.search.n_epochs:
            self._trial.set_user_attr("reason", stopped_early(state.best, state.epochs_done))
        return state.best.macro_f1

    def _leave_at_rung(self, state: TrainingState, log: TensorBoardLog) -> None:
        """Note, while the lease is held, what a trial has shown that may pause now."""
        if self._queue is not None and state.epochs_done in self._queue.rungs.epochs:
            self._conclude(state, log)
            self._record_weights(state)

    def _is_over(self, state: TrainingState) -> bool:
        search = self.config.search
        return state.is_over(n_epochs=search.n_epochs, patience_epochs=search.patience_epochs)

    def _start_or_resume(self) -> TrialTraining:
        if self.paths.metrics.is_file():  # never overwritten, nor renamed
            raise StudyError(f"{self.paths.metrics} must not exist yet: see `study doctor`")
        trained = TrialTraining(self.config, self._prepared, seed=self.seed, stop=self._stop)
        self.paths.remove_unfinished()
        checkpoint = load_own(self._session, self._trial._trial_id, self.identity)
        if checkpoint is not None:
            trained.state.load_state_dict(checkpoint["state"])
            logger.info("resumed after epoch %d", trained.state.epochs_done)
        return trained

    def _leaves_time(self) -> bool:
        """Return whether there is time enough left to save another epoch."""
        return self._stop.leaves_time_for(self._session.longest_epoch_seconds)

    def _describe(self, state: TrainingState) -> None:
        """Leave the resolved configuration in the run folder, and attributes with the trial."""
        text = json.dumps(as_stored(self.config), indent=2)
        with writing(self.paths.folder):
            make_folders(self.paths.folder)
        write_atomically(self.paths.configuration, text.encode())
        attributes = {
            "seed": self.seed,
            "host": socket.gethostname(),
            "device": str(state.execution.device),
            EXECUTION: describe_execution(state.execution),
            "n_parameters": count_parameters(state.network),
            "versions": versions(),
            "git_revision": git_revision(),
            "source_digest": source_digest(),
        }
        for key, value in attributes.items():
            if self._trial.user_attrs.get(key) != value:
                self._trial.set_user_attr(key, value)

    def _header(self) -> dict[str, Any]:
        return {
            "configuration": json.dumps(as_stored(self.config)),
            "class_names": list(self._prepared.class_names),
            "mean": list(self._prepared.mean),
            "std": list(self._prepared.std),
            **asdict(self.identity.run),
        }

    def _record_weights(self, state: TrainingState) -> None:
        """Record what a replay must arrive at."""
        recorded = {"epoch": state.epochs_done, "sha256": digest_weights(state)}
        self._trial.set_user_attr(LAST_WEIGHTS, recorded)

    @property
    def _kind(self) -> str:
        if self._session.is_confirmation:
            return "confirm"
        return "final" if self._session.is_final else ""

    def _conclude(self, state: TrainingState, log: TensorBoardLog) -> None:
        """Note the best epoch, and show it in TensorBoard's HParams; without one, the settings."""
        metrics: dict[str, float] = {}
        if state.best is not None:
            self._trial.set_user_attr(BEST_EPOCH, state.best.epoch)
            best = state.history[state.best.epoch - 1]
            metrics = {f"best/{name}": value for name, value in asdict(best.validation).items()}
            metrics["best/train_accuracy"] = best.train.accuracy
            metrics["best/epoch"] = state.best.epoch
        label = self._trial.user_attrs.get(LABEL)
        log.write_row(
            row_name(
                self._session.searched_name,
                self._trial.number,
                label,
                kind=self._kind,
            ),
            build_hparams(self._session.config, self.config, label),
            metrics,
        )


def stopped_early(best: BestEpoch, epochs_done: int) -> dict[str, str]:
    """Return what is noted with a complete trial that ended before its last epoch."""
    waited = f"no better macro-F1 in the {epochs_done - best.epoch} epochs after {best.epoch}"
    return {"kind": "stopped early", "message": waited}
