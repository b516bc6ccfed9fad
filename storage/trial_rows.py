"""The trials of a study as frozen rows: the one reading that every view is built upon.

Reads Optuna's trials and our table `epochs`. Must not import torch: the command line shows trials
without loading it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from storage.optuna_rows import AUDITED, FIXED_PARAMS, PAUSED, SLOT
from storage.own_study import open_study
from storage.records import (
    IMPORTED_FROM,
    EpochRecord,
    as_epoch,
    no_such_study,
    stream_epochs,
)
from storage.study_storage import StudyStorage

STATE_NAMES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
PAUSED_STATE = "paused"
"""Of a trial that waits at a rung and may go on; for Optuna it waits."""
ALL_STATES = (*STATE_NAMES.values(), PAUSED_STATE)
NOT_PROMOTED = "not promoted"
"""Kind of the reason of a trial that was paused when its study was over, and ends pruned."""
FINISHED = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class TrialRow:
    """One trial as people see it.

    Attributes:
        trial_id: Optuna's row number, by which our own tables know the trial.
        number: Its number within the study.
        slot: Its place in the queue, which names its folder; None where another study ran it.
        state: waiting, running, complete, pruned, failed or paused.
        value: The objective of a complete trial; else the best validation macro-F1 so far.
        best_epoch: Epoch of the best validation macro-F1, the first of equals.
        epochs_done: Epochs recorded so far.
        last_macro_f1: Validation macro-F1 of the newest epoch.
        params: Hyperparameters that the sampler drew, by name, or that were given.
        reason: Why it ended early, whatever its state: `kind` and `message`.
        host: Machine that ran it last.
        seconds: Time its recorded epochs took, training and validation.
        attributes: Everything else that the worker noted: seed, device, n_parameters, ...
        best: The epoch of the best validation macro-F1.
        newest: The last epoch recorded so far.
        curve: Validation macro-F1 of each epoch recorded so far.
        speeds: Training images per second of each, likewise.
    """

    trial_id: int
    number: int
    slot: int | None
    state: str
    value: float | None
    best_epoch: int | None
    epochs_done: int
    last_macro_f1: float | None
    params: dict[str, Any]
    reason: dict[str, str] | None
    host: str | None
    seconds: float
    attributes: dict[str, Any]
    best: EpochRecord | None = None
    newest: EpochRecord | None = None
    curve: tuple[float, ...] = ()
    speeds: tuple[float, ...] = ()

    @property
    def is_imported(self) -> bool:
        """Whether another study ran it: it counts for the search, but not for the budget."""
        return IMPORTED_FROM in self.attributes

    @property
    def is_cut_short(self) -> bool:
        """Whether others went on before it: it was pruned, or is paused."""
        return self.state in ("pruned", PAUSED_STATE)

    @property
    def audited_at(self) -> int | None:
        """The epoch at which it was to be cut, of one that runs on for the audit; else None."""
        epoch: int | None = self.attributes.get(AUDITED)
        return epoch

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON values, without its epochs."""
        values = asdict(self)
        for name in ("best", "newest", "curve", "speeds"):
            del values[name]
        return values


def read_trials(storage: StudyStorage, study_name: str) -> list[TrialRow]:
    """Return every trial of a study by number.

    Raises:
        StudyNotFoundError: If the database has no study of that name.
    """
    return _rows(storage, open_study(storage, study_name).get_trials(deepcopy=False))


def reject_missing(storage: StudyStorage, study_name: str) -> None:
    """Reject the name of a study that Optuna does not have.

    Raises:
        StudyNotFoundError: If it does not; the message names those that exist.
    """
    try:
        storage.get_study_id_from_name(study_name)
    except KeyError:
        raise no_such_study(storage.database, study_name) from None


def read_some(storage: StudyStorage, trial_ids: Sequence[int]) -> list[TrialRow]:
    """Return the trials of Optuna's row numbers, in their order."""
    found = {row.trial_id: row for row in _rows(storage, storage.get_trials(trial_ids))}
    return [found[one] for one in trial_ids if one in found]


def _rows(storage: StudyStorage, trials: Sequence[FrozenTrial]) -> list[TrialRow]:
    # After the trials: whatever was finished then has all its epochs now.
    found = {trial._trial_id: trial for trial in trials}
    rows = {
        trial_id: build_row(found[trial_id], records)
        for trial_id, records in stream_epochs(storage.database, [*found])
    }
    return [rows.get(trial._trial_id) or build_row(trial, []) for trial in trials]


def state_name(trial: FrozenTrial) -> str:
    """Return the state of a trial as people see it."""
    is_paused = trial.state is TrialState.WAITING and PAUSED in trial.user_attrs
    return PAUSED_STATE if is_paused else STATE_NAMES[trial.state]


def build_row(trial: FrozenTrial, records: Sequence[Any]) -> TrialRow:
    """Return a trial with its rows of the table `epochs`, in order."""
    best = max(records, key=lambda record: record.validation_macro_f1, default=None)
    noted = dict(trial.user_attrs)
    noted.pop(PAUSED, None)
    complete = trial.state is TrialState.COMPLETE
    return TrialRow(
        trial_id=trial._trial_id,
        number=trial.number,
        slot=noted.pop(SLOT, None),
        state=state_name(trial),
        value=trial.value if complete else best.validation_macro_f1 if best else None,
        best_epoch=best.epoch if best else None,
        epochs_done=records[-1].epoch if records else 0,
        last_macro_f1=records[-1].validation_macro_f1 if records else None,
        params=trial.system_attrs.get(FIXED_PARAMS, {}) | trial.params,
        reason=noted.pop("reason", None),
        host=noted.pop("host", None),
        seconds=sum(record.seconds for record in records),
        attributes=noted,
        best=as_epoch(best) if best else None,
        newest=as_epoch(records[-1]) if records else None,
        curve=tuple(record.validation_macro_f1 for record in records),
        speeds=tuple(record.images_per_second for record in records),
    )


def best_complete(rows: Sequence[TrialRow]) -> TrialRow | None:
    """Return the complete trial of the highest value, the earliest of equals."""
    complete = [row for row in rows if row.state == "complete" and row.value is not None]
    return max(complete, key=lambda row: row.value or 0.0, default=None)


def lowest_loss(rows: Sequence[TrialRow]) -> TrialRow | None:
    """Return the complete trial of the lowest validation loss at its best epoch."""
    known = [row for row in rows if row.state == "complete" and row.best is not None]
    return min(known, key=lambda row: row.best.validation_loss if row.best else 0.0, default=None)


def by_value(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the rows from the best value to the worst, those without one last."""
    return sorted(rows, key=lambda row: (row.value is None, -(row.value or 0.0), row.number))
