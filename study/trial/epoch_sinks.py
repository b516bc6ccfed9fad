"""What happens after an epoch, in this order: confirm, show, save, report and prune.

The first raises where another worker has the trial now, or the runs folder is another one, so that
nothing is written where it does not belong; the
last where the trial is pruned, which is therefore also shown and saved.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, astuple, fields
from typing import Any, Protocol

import optuna

from dashboards.tensorboard.writer import TensorBoardLog
from model.training import EpochResult
from model.training_state import TrainingState
from storage.atomic_files import write_atomically
from storage.checkpoints import save_checkpoint, save_generation
from storage.leases import Heartbeat
from storage.optuna_rows import AUDITED, note_audited
from storage.records import EpochRecord, report, report_resumed
from storage.run_paths import RunPaths, TrialPaths
from storage.study_storage import StudyStorage
from storage.trial_queue import TrialQueue


class EpochSink(Protocol):
    """Does one thing with a finished epoch."""

    def __call__(self, result: EpochResult, state: TrainingState) -> None:
        """Take the epoch and the state after it."""


def as_record(result: EpochResult) -> EpochRecord:
    """Return an epoch as the row that is stored."""
    values = asdict(result)
    for split in ("train", "validation"):
        metrics = values.pop(split)
        values |= {f"{split}_{name}": value for name, value in metrics.items()}
    return EpochRecord(**values)


class Confirm:
    """Lets no file be written for another worker's trial, nor beside a file system that is gone.

    Args:
        heartbeat: Holds the lease.
        runs: Where files go; below it lies the folder of another disk, once it is unmounted.
        study_key: What the study's folder must hold.
    """

    def __init__(self, heartbeat: Heartbeat, runs: RunPaths, study_key: str) -> None:
        self._heartbeat = heartbeat
        self._runs = runs
        self._study_key = study_key

    def __call__(self, result: EpochResult, state: TrainingState) -> None:
        """Ask the database and the folder.

        Raises:
            LeaseLostError: If another worker has taken the trial over.
            StorageError: If the runs folder is not the study's any more.
        """
        self._heartbeat.confirm()
        self._runs.check(self._study_key)


class ShowEpoch:
    """Writes TensorBoard events and the epochs as CSV, and says a line."""

    def __init__(
        self, log: TensorBoardLog, paths: TrialPaths, announce: Callable[[EpochResult], None]
    ) -> None:
        self._log = log
        self._paths = paths
        self._announce = announce

    def __call__(self, result: EpochResult, state: TrainingState) -> None:
        """Show an epoch."""
        self._log.write(as_record(result))
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(field.name for field in fields(EpochRecord))
        rows.writerows(astuple(as_record(earlier)) for earlier in state.history)
        write_atomically(self._paths.epochs, text.getvalue().encode())
        self._announce(result)


class SaveCheckpoint:
    """Writes the best weights when they are new, then the checkpoint to resume from.

    In this order: a run that dies in between trains the epoch again and finds it best again.

    Args:
        paths: Where the files go.
        header: What a reader needs beside the weights: configuration, class names, statistics.
    """

    def __init__(self, paths: TrialPaths, header: dict[str, Any]) -> None:
        self._paths = paths
        self._header = header

    def __call__(self, result: EpochResult, state: TrainingState) -> None:
        """Save an epoch."""
        if state.best is not None and state.best.epoch == result.epoch:
            weights = {"epoch": result.epoch, "network": state.evaluated_network.state_dict()}
            save_checkpoint(self._paths.best, self._header | weights)
        save_generation(self._paths, result.epoch, self._header | {"state": state.state_dict()})


class TrialPaused(Exception):
    """The trial waits at a rung; its lease ended with the epoch."""


def paused_after(state: TrainingState) -> TrialPaused:
    """Return what says after which epoch a trial waits."""
    return TrialPaused(f"paused after epoch {state.epochs_done}")


class ReportAndPrune:
    """Reports an epoch, then checks pruning.

    The row in the table `epochs`, validation macro-F1 as Optuna's intermediate value and the
    heartbeat of the lease are one transaction: all or nothing, and nothing once the trial is
    another worker's.

    Args:
        study: Optuna's view of the study, with its pruner.
        storage_handle: The study's database.
        trial_id: Optuna's row number of the trial.
        heartbeat: Holds the lease.
        is_over: Whether a state was that of the trial's last epoch: nothing is left to prune.
        is_audited: Whether the trial runs on where the pruner gives it up; that is noted once.
        queue: Decides, in the epoch's own transaction, whether the trial pauses; None: it never
            does.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage_handle: StudyStorage,
        trial_id: int,
        heartbeat: Heartbeat,
        *,
        is_over: Callable[[TrainingState], bool],
        is_audited: bool = False,
        queue: TrialQueue | None = None,
    ) -> None:
        self._study = study
        self._storage_handle = storage_handle
        self._trial_id = trial_id
        self._heartbeat = heartbeat
        self._is_over = is_over
        self._is_audited = is_audited
        self._queue = queue

    def __call__(self, result: EpochResult, state: TrainingState) -> None:
        """Report an epoch.

        Raises:
            TrialPruned: If the pruner gives the trial up.
            TrialPaused: If others go on before it.
            LeaseLostError: If another worker has taken the trial over.
        """
        records, queue = [as_record(result)], self._pausing(state)
        if queue is None:
            self._heartbeat.within(lambda connection: report(connection, self._trial_id, records))
        elif queue.report(self._heartbeat, records):
            raise paused_after(state)
        self._prune_after(state)

    def catch_up(self, state: TrainingState) -> None:
        """Report epochs that were checkpointed before a crash, then check pruning.

        Whether the trial pauses was decided when its newest epoch was reported; where that is
        only now, it is decided now.

        Raises:
            TrialPruned: If the pruner gives the trial up.
            TrialPaused: If others go on before it.
            LeaseLostError: If another worker has taken the trial over.
        """
        records, queue = [as_record(result) for result in state.history], self._pausing(state)
        if queue is not None and records:
            if queue.report_resumed(self._heartbeat, records):
                raise paused_after(state)
        elif records or self._storage_handle.get_trial(self._trial_id).intermediate_values:
            self._heartbeat.within(
                lambda connection: report_resumed(connection, self._trial_id, records)
            )
        if records:
            self._prune_after(state)

    def _pausing(self, state: TrainingState) -> TrialQueue | None:
        """Return the queue where it may let the trial pause after this epoch."""
        return None if self._is_over(state) else self._queue

    def _prune_after(self, state: TrainingState) -> None:
        if self._is_over(state):
            return
        trial = self._storage_handle.get_trial(self._trial_id)
        if AUDITED in trial.user_attrs or not self._study.pruner.prune(self._study, trial):
            return
        epoch = state.epochs_done
        if not self._is_audited:
            raise optuna.TrialPruned(f"the pruner gave up after epoch {epoch}")
        self._heartbeat.within(lambda connection: note_audited(connection, self._trial_id, epoch))
