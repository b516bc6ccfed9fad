"""The trials of a study as frozen rows: the one reading that every view is built upon.

Reads Optuna's trials and our table `epochs`. Must not import torch: the command line shows trials
without loading it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from storage.optuna_rows import FIXED_PARAMS, SLOT
from storage.own_study import open_study
from storage.records import (
    TAKEN_OVER_FROM,
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
STATE_STYLES = {
    "waiting": "dim",
    "running": "cyan",
    "complete": "green",
    "pruned": "yellow",
    "failed": "red",
}
FINISHED = ("complete", "pruned", "failed")
TAKEN_OVER_MARK = "*"
NAMING_DIGITS = 6
"""Significant digits where numbers tell points apart, which may lie close together."""


@dataclass(frozen=True)
class TrialRow:
    """One trial as people see it.

    Attributes:
        trial_id: Optuna's row number, by which our own tables know the trial.
        number: Its number within the study.
        slot: Its place in the queue, which names its folder; None where another study ran it.
        state: waiting, running, complete, pruned or failed.
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
    def is_taken_over(self) -> bool:
        """Whether another study ran it: it counts for the search, but not for the budget."""
        return TAKEN_OVER_FROM in self.attributes

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


def refuse_missing(storage: StudyStorage, study_name: str) -> None:
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
        trial_id: _row(found[trial_id], records)
        for trial_id, records in stream_epochs(storage.database, [*found])
    }
    return [rows.get(trial._trial_id) or _row(trial, []) for trial in trials]


def _row(trial: FrozenTrial, records: Sequence[Any]) -> TrialRow:
    best = max(records, key=lambda record: record.validation_macro_f1, default=None)
    noted = dict(trial.user_attrs)
    complete = trial.state is TrialState.COMPLETE
    return TrialRow(
        trial_id=trial._trial_id,
        number=trial.number,
        slot=noted.pop(SLOT, None),
        state=STATE_NAMES[trial.state],
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


def shown_params(row: TrialRow) -> dict[str, str]:
    """Return the hyperparameters as short texts, the blocks of all stages as one."""
    shown: dict[str, str] = {}
    for name, value in row.params.items():
        if name.startswith("blocks_"):
            shown["blocks"] = "-".join(filter(None, (shown.get("blocks"), str(value))))
        else:
            shown[setting_name(name)] = shown_value(value)
    return shown


def setting_name(key: str) -> str:
    """Return what people call a setting: `learning rate` for `optimization.learning_rate`."""
    return key.rpartition(".")[2].replace("_", " ")


def shown_value(value: Any, *, digits: int = 3) -> str:
    """Return a hyperparameter as a short text, a number with so many significant digits."""
    if value is None:
        return "none"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def shown_duration(seconds: float) -> str:
    """Return a duration in the unit that suits it: `48 s`, `12 min`, `3.1 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def trials_table(rows: Sequence[TrialRow], *, with_loss: bool = False) -> Table:
    """Return all trials, the best value first, as a table for a terminal of 80 columns.

    The state of a trial that ended early says how, in the colour of its state.

    Args:
        rows: The trials.
        with_loss: Whether the validation loss of the best epoch has a column.
    """
    names = list(dict.fromkeys(name for row in rows for name in shown_params(row)))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    loss = ("loss",) if with_loss else ()
    for heading in ("trial", "state", "macro-F1", *loss, "best\nepoch", *names, "time"):
        justify: JustifyMethod = "left" if heading == "state" else "right"
        # One word a line: the terminal has 80 columns.
        table.add_column(Text(heading.replace(" ", "\n")), justify=justify, no_wrap=True)
    for row in by_value(rows):
        table.add_row(*_cells(row, names, with_loss=with_loss))
    if any(row.is_taken_over for row in rows):
        table.caption = f"{TAKEN_OVER_MARK} taken over from another study"
    return table


def _cells(row: TrialRow, names: Sequence[str], *, with_loss: bool) -> list[Text]:
    """Return the cells of a row; as `Text`, for rich takes brackets in a str for markup."""
    shown = shown_params(row)
    loss = [Text("" if row.best is None else f"{row.best.validation_loss:.4f}")]
    return [
        Text(f"{row.number}{TAKEN_OVER_MARK if row.is_taken_over else ''}"),
        Text(row.reason["kind"] if row.reason else row.state, STATE_STYLES[row.state]),
        Text("" if row.value is None else f"{row.value:.4f}"),
        *(loss if with_loss else []),
        Text(f"{row.best_epoch}/{row.epochs_done}" if row.epochs_done else ""),
        *(Text(shown.get(name, "")) for name in names),
        Text(shown_duration(row.seconds) if row.seconds else ""),
    ]
