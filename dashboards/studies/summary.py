"""The studies of a database in short. Must not import torch."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dashboards.analysis.status import StudyStatus, read_status
from storage.budget import Budget
from storage.errors import StudyNotFoundError
from storage.records import find_protocol, no_such_study, study_names
from storage.run_folder_deletion import measure_folders
from storage.run_paths import RunPaths
from storage.study_names import follows_a_search
from storage.study_storage import StudyStorage

STATES = (
    "running",
    "confirming",
    "final run",
    "stopped",
    "not begun",
    "done",
    "tested",
    "deleted",
)


@dataclass(frozen=True)
class StudySummary:
    """A study in a row.

    Attributes:
        study_name: Its name.
        state: One of `STATES`; stopped where trials are left and no worker is active, deleted
            where Optuna's own tools have removed its trials.
        done: Trials that are over.
        budget: Trials of the whole study; where the budget counts epochs or hours, those that
            have been queued so far.
        limit: The budget in its own unit.
        best_value: Highest validation macro-F1 of a complete trial, None without one.
        best_trial: Its number.
        confirmed_score: Mean macro-F1 of the winner's confirmation, None before its end.
        is_better: Whether it may be called better than the configured values; None without a
            verdict.
        test_macro_f1: Of the last final run that was tested, None without one.
        run_folder: Its run folder; None where this one is not there, or of another study.
        size_bytes: Of that folder.
        data_source: Where its data come from.
    """

    study_name: str
    state: str
    done: int
    budget: int
    limit: Budget
    best_value: float | None
    best_trial: int | None
    confirmed_score: float | None
    is_better: bool | None
    test_macro_f1: float | None
    run_folder: str | None
    size_bytes: int | None
    data_source: str

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def summarise_studies(
    handle: StudyStorage, runs: Path, name: str | None = None
) -> Iterator[StudySummary]:
    """Yield the searched studies of a database, the oldest first.

    Args:
        handle: The database.
        runs: The folder of all runs.
        name: Of one study; None: all of them.

    Raises:
        StudyNotFoundError: If there is no study of that name.
    """
    names = [one for one in study_names(handle.database) if not follows_a_search(one)]
    if name is not None and name not in names:
        raise no_such_study(handle.database, name)
    for one in names if name is None else [name]:
        yield _summarise(handle, runs, one)


def _summarise(handle: StudyStorage, runs: Path, name: str) -> StudySummary:
    protocol, paths = find_protocol(handle.database, name), RunPaths(runs, name)
    if protocol is None:
        raise no_such_study(handle.database, name)
    try:
        status = read_status(handle, name)
    except StudyNotFoundError:
        status = None
    is_own = paths.key() == protocol.study_key
    best = status.best if status else None
    confirmation = status.confirmation if status else None
    final_runs = status.final_runs if status else ()
    tested = [run.test_macro_f1 for run in final_runs if run.is_first]
    return StudySummary(
        study_name=name,
        state=_state(status),
        done=status.done if status else 0,
        budget=protocol.budget,
        limit=protocol.limit,
        best_value=best.value if best else None,
        best_trial=best.number if best else None,
        confirmed_score=confirmation.confirmed_score if confirmation else None,
        is_better=confirmation.is_better if confirmation else None,
        test_macro_f1=next((value for value in tested[::-1] if value is not None), None),
        run_folder=str(paths.folder) if is_own else None,
        size_bytes=measure_folders([paths.folder]).n_bytes if is_own else None,
        data_source=protocol.data_source,
    )


def _state(status: StudyStatus | None) -> str:
    if status is None:
        return "deleted"
    if status.has_live_worker:
        return "running"
    if status.has_live_confirmation:
        return "confirming"
    if status.has_live_final_run:
        return "final run"
    if not status.is_over:
        return (
            "stopped" if status.done or status.running or status.recorded_epochs else "not begun"
        )
    return "tested" if any(run.test_macro_f1 is not None for run in status.final_runs) else "done"
