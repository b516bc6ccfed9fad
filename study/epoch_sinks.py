"""What happens after an epoch, in this order: record, show, save, report.

The first raises where another worker has the trial now, so that nothing of its run is touched; the
last where the trial is pruned, which is therefore also recorded and saved.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, astuple, fields
from typing import Any, Protocol

import optuna

from dashboards.tensorboard import TensorBoardLog
from model.training import EpochResult
from model.training_state import TrainingState
from storage.checkpoints import save_checkpoint, save_generation
from storage.leases import Heartbeat
from storage.records import EpochRecord, put_epoch
from storage.run_paths import TrialPaths, write_atomically


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


class RecordEpoch:
    """Writes the row in the table `epochs`, and a copy of the trial's rows as CSV.

    The row and a beat of the lease are one transaction: a worker that has lost its trial to
    another writes nothing.
    """

    def __init__(self, heartbeat: Heartbeat, trial_id: int, paths: TrialPaths) -> None:
        self._heartbeat = heartbeat
        self._trial_id = trial_id
        self._paths = paths

    def __call__(self, result: EpochResult, state: TrainingState) -> None:
        """Record an epoch, in place of the same epoch of an earlier life.

        Raises:
            LeaseLostError: If another worker has taken the trial over.
        """
        record = as_record(result)
        self._heartbeat.within(lambda connection: put_epoch(connection, self._trial_id, record))
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(field.name for field in fields(EpochRecord))
        rows.writerows(astuple(as_record(earlier)) for earlier in state.history)
        write_atomically(self._paths.epochs, text.getvalue().encode())


class ShowEpoch:
    """Writes TensorBoard events and says a line."""

    def __init__(self, log: TensorBoardLog, announce: Callable[[EpochResult], None]) -> None:
        self._log = log
        self._announce = announce

    def __call__(self, result: EpochResult, state: TrainingState) -> None:
        """Show an epoch."""
        self._log.write(as_record(result))
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
            weights = {"epoch": result.epoch, "network": state.network.state_dict()}
            save_checkpoint(self._paths.best, self._header | weights)
        save_generation(self._paths, result.epoch, self._header | {"state": state.state_dict()})


class ReportAndPrune:
    """Reports validation macro-F1 to Optuna and asks whether to go on.

    Args:
        trial: The trial that runs.
        heartbeat: Confirms before each report that the trial is still ours.
        n_epochs: Epochs of the whole trial; after the last there is nothing left to prune.
        reported: Epochs that an earlier life has reported; Optuna keeps the first value.
    """

    def __init__(
        self, trial: optuna.Trial, heartbeat: Heartbeat, *, n_epochs: int, reported: set[int]
    ) -> None:
        self._trial = trial
        self._heartbeat = heartbeat
        self._n_epochs = n_epochs
        self._reported = reported

    def __call__(self, result: EpochResult, state: TrainingState) -> None:
        """Report an epoch.

        Raises:
            TrialPruned: If the pruner gives the trial up.
            LeaseLostError: If another worker has taken the trial over.
        """
        self._heartbeat.confirm()
        if result.epoch not in self._reported:
            self._trial.report(result.validation.macro_f1, step=result.epoch)
            self._reported.add(result.epoch)
        if result.epoch < self._n_epochs and self._trial.should_prune():
            raise optuna.TrialPruned(f"the pruner gave up after epoch {result.epoch}")

    def catch_up(self, state: TrainingState) -> None:
        """Report what an earlier life saved but did not report, and ask once more.

        Raises:
            TrialPruned: If the pruner gives the trial up.
            LeaseLostError: If another worker has taken the trial over.
        """
        for result in state.history[:-1]:
            if result.epoch not in self._reported:
                self._trial.report(result.validation.macro_f1, step=result.epoch)
                self._reported.add(result.epoch)
        for result in state.history[-1:]:
            self(result, state)
