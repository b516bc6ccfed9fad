"""Several studies of a database side by side. Must not import torch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dashboards.analysis.spending import Spending
from dashboards.analysis.status import StudyStatus, read_status
from dashboards.formatting import shown_duration, shown_value
from storage.records import Protocol, read_protocol
from storage.study_storage import StudyStorage
from storage.trial_rows import ALL_STATES, TrialRow, read_trials

NO_DIFFERENCE = ("name", "description", "storage", "protocol", "workers")
"""Settings, and sections of settings, that decide no result."""
NOT_STORED = "not stored"


@dataclass(frozen=True)
class StudyResult:
    """What a study has found, and what it has cost.

    Attributes:
        study_name: Its name.
        budget: Trials of the whole study; where the budget counts epochs or hours, those that
            have been queued so far.
        spending: What of the budget is spent, in its own unit.
        is_over: Whether nothing is left of the budget.
        done: Trials that are over.
        trials: How many are in each state, imported ones left out.
        best_value: Highest validation macro-F1 of a complete trial, None without one.
        best_trial: Its number.
        best_is_imported: Whether another study ran it.
        confirmed_score: Mean macro-F1 of the winner's confirmation, None before its end.
        confirmed_trial: Number of that winner, likewise.
        is_better: Whether it may be called better than the configured values; None without a
            verdict.
        final_validation_macro_f1: Best of the last final run, None without one.
        test_macro_f1: Of the last final run that was tested, None without one.
        test_accuracy: Likewise.
        epochs: Epochs of all trials, the final runs left out.
        worker_seconds: Time of these epochs, summed over workers.
        data_fingerprint: Of its images.
        curve: Worker seconds spent after each trial in the order of their numbers, and the best
            value of a complete trial by then.
    """

    study_name: str
    budget: int
    spending: Spending
    is_over: bool
    done: int
    trials: dict[str, int]
    best_value: float | None
    best_trial: int | None
    best_is_imported: bool
    confirmed_score: float | None
    confirmed_trial: int | None
    is_better: bool | None
    final_validation_macro_f1: float | None
    test_macro_f1: float | None
    test_accuracy: float | None
    epochs: int
    worker_seconds: float
    data_fingerprint: str
    curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class SideBySide:
    """Studies that are compared.

    Attributes:
        results: Of each study, in the order in which they were named.
        differences: Settings that differ, by dotted key: a text for each study.
        cautions: Why their scores may not be comparable, a line each.
    """

    results: tuple[StudyResult, ...]
    differences: dict[str, tuple[str, ...]]
    cautions: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def compare_studies(
    handle: StudyStorage, configurations: Mapping[str, Mapping[str, Any]]
) -> SideBySide:
    """Read studies and set them side by side.

    Args:
        handle: The database.
        configurations: Resolved configuration of each study, by name.

    Raises:
        StudyNotFoundError: If one does not exist.
    """
    database = handle.database
    protocols = [read_protocol(database, name) for name in configurations]
    results = tuple(_read_result(handle, protocol) for protocol in protocols)
    differences = _differences([dict(_settings(one)) for one in configurations.values()])
    return SideBySide(results, differences, tuple(_cautions(protocols, results, differences)))


def _read_result(handle: StudyStorage, protocol: Protocol) -> StudyResult:
    status = read_status(handle, protocol.study_name)
    confirmation = status.confirmation
    is_confirmed = confirmation is not None and confirmation.confirmed_score is not None
    shipped = [run for run in status.final_runs if run.is_first]
    final = shipped[-1] if shipped else None
    tested = [run for run in shipped if run.test_macro_f1 is not None]
    return StudyResult(
        study_name=protocol.study_name,
        budget=protocol.budget,
        spending=status.spending,
        is_over=status.is_over and status.spending.is_spent,
        done=status.done,
        trials=_counts(status),
        best_value=status.best.value if status.best else None,
        best_trial=status.best.number if status.best else None,
        best_is_imported=status.best is not None and status.best.is_imported,
        confirmed_score=confirmation.confirmed_score if confirmation else None,
        confirmed_trial=confirmation.winner if confirmation and is_confirmed else None,
        is_better=confirmation.is_better if confirmation else None,
        final_validation_macro_f1=final.validation_macro_f1 if final else None,
        test_macro_f1=tested[-1].test_macro_f1 if tested else None,
        test_accuracy=tested[-1].test_accuracy if tested else None,
        epochs=status.recorded_epochs,
        worker_seconds=status.seconds_spent,
        data_fingerprint=protocol.data_fingerprint,
        curve=tuple(_curve(read_trials(handle, protocol.study_name))),
    )


def _counts(status: StudyStatus) -> dict[str, int]:
    return {state: getattr(status, state) for state in ALL_STATES}


def _curve(rows: Sequence[TrialRow]) -> Iterator[tuple[float, float]]:
    seconds, best = 0.0, 0.0
    for row in rows:
        if row.is_imported:
            continue
        seconds += row.seconds
        if row.state == "complete" and row.value is not None:
            best = max(best, row.value)
        if best:
            yield seconds, best


def _settings(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield every setting that decides a result by dotted key, as a text."""
    for key, value in values.items():
        if not above and key in NO_DIFFERENCE:
            continue
        if isinstance(value, Mapping):
            yield from _settings(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", shown_value(value, digits=6)


def _differences(settings: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    keys = dict.fromkeys(key for one in settings for key in one)
    found = {key: tuple(one.get(key, NOT_STORED) for one in settings) for key in keys}
    return {key: values for key, values in found.items() if len(set(values)) > 1}


def _cautions(
    protocols: Sequence[Protocol],
    results: Sequence[StudyResult],
    differences: Mapping[str, tuple[str, ...]],
) -> Iterator[str]:
    fingerprints = [protocol.data_fingerprint for protocol in protocols]
    if len(set(fingerprints)) > 1:
        each = ", ".join(
            f"{protocol.study_name} {protocol.data_fingerprint[:12]}" for protocol in protocols
        )
        yield f"their images differ, so their scores cannot be compared (fingerprints: {each})"
    if any(key.startswith("evaluation.") for key in differences):
        yield "they evaluate otherwise, so one metric means two things (see the settings below)"
    for one in results:
        if one.best_is_imported:
            yield f"the best trial of {one.study_name} was imported: another study paid for it"
        if not one.is_over:
            yield f"{one.study_name} is not over: {one.spending} are done"


def _score(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _told(is_better: bool | None) -> str | None:
    return None if is_better is None else "yes" if is_better else "not told"


MEASURES: dict[str, Callable[[StudyResult], str | None]] = {
    "budget spent": lambda one: str(one.spending),
    "by state": lambda one: ", ".join(f"{n} {state}" for state, n in one.trials.items() if n),
    "best validation macro-F1": lambda one: _score(one.best_value),
    "of trial": lambda one: None if one.best_trial is None else str(one.best_trial),
    "confirmed macro-F1": lambda one: _score(one.confirmed_score),
    "of winner, trial": lambda one: (
        None if one.confirmed_trial is None else str(one.confirmed_trial)
    ),
    "better than its default": lambda one: _told(one.is_better),
    "final validation macro-F1": lambda one: _score(one.final_validation_macro_f1),
    "test macro-F1": lambda one: _score(one.test_macro_f1),
    "test accuracy": lambda one: _score(one.test_accuracy),
    "epochs": lambda one: f"{one.epochs:,}",
    "worker time": lambda one: shown_duration(one.worker_seconds),
}
"""What is compared, in the order of the rows, in a terminal and on a page; None: not there yet."""
