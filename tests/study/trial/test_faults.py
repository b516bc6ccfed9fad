"""Whose fault it is that a trial does not end: what surrounds every trial may fail none."""

import errno
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy.exc
import torch
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

import study.trial.epoch_sinks
import study.trial.objective
import study.trial.trial_training
from data.image_cache import PreparedData
from storage.leases import held_leases, read_endings
from storage.study_storage import StudyStorage
from study.creation.create import initialise
from study.errors import WorkerStoppedError
from study.session.session import StudySession
from tests.study.workers.test_worker import Settings, configured, work

Place = tuple[object, str]

WRITING: Place = (study.trial.epoch_sinks, "write_atomically")
READING: Place = (PreparedData, "train")
STORING: Place = (StudyStorage, "set_trial_user_attr")
BUILDING: Place = (study.trial.trial_training, "fresh_state")
TRAINING: Place = (study.trial.trial_training, "train_epochs")
OWN_CODE: Place = (study.trial.objective, "git_revision")


def fail_at(monkeypatch: pytest.MonkeyPatch, place: Place, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(*place, fail)


def fail_in_training(monkeypatch: pytest.MonkeyPatch, *, n_spared: int = 0) -> None:
    """Let training fail in all but the first trials."""
    build: Callable[..., Any] = study.trial.trial_training.fresh_state
    n_built = 0

    def fail(*given: Any, **options: Any) -> Any:
        nonlocal n_built
        n_built += 1
        if n_built > n_spared:
            raise RuntimeError("shapes cannot be multiplied") from KeyError("the cause")
        return build(*given, **options)

    monkeypatch.setattr(study.trial.trial_training, "fresh_state", fail)


def database_error() -> Exception:
    """Return what Optuna raises where a pooler has lost what psycopg had prepared."""
    driver = Exception('prepared statement "_pg3_0" does not exist\nLINE 1: SELECT 1')
    rejected = sqlalchemy.exc.ProgrammingError("SELECT 1", {}, driver)
    rejected.__cause__ = driver
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = rejected
    return error


def endings(session: StudySession) -> list[str | None]:
    return read_endings(session.storage_handle.database, [1])[1]


def states(session: StudySession) -> list[TrialState]:
    return [trial.state for trial in session.optuna_study().trials]


@pytest.mark.parametrize(
    ("place", "error", "said"),
    [
        (WRITING, OSError(errno.ENOTCONN, "Transport endpoint is not connected"), "Transport"),
        (READING, FileNotFoundError(errno.ENOENT, "No such file", "train.images"), "train.images"),
        (TRAINING, OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (STORING, database_error(), 'prepared statement "_pg3_0" does not exist;'),
    ],
)
def test_fault_of_the_environment_stops_every_worker_and_no_trial(
    tiny_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    place: Place,
    error: Exception,
    said: str,
) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 2}}))
    n_workers = 4  # more than a lost trial is retried
    with monkeypatch.context() as patched:
        fail_at(patched, place, error)
        for _ in range(n_workers):
            with pytest.raises(WorkerStoppedError) as stopped:
                work(session)
            assert stopped.value.exit_code == 1
            assert said in str(stopped.value) and "StorageInternalError" not in str(stopped.value)
            assert "its trial is released" in str(stopped.value)
    assert states(session) == [TrialState.WAITING] * 2
    assert endings(session) == ["released"] * n_workers
    work(session)
    assert states(session) == [TrialState.COMPLETE] * 2
    assert "reason" not in session.optuna_study().trials[0].user_attrs


@pytest.mark.parametrize("place", [BUILDING, TRAINING])
@pytest.mark.parametrize(
    ("error", "state", "kind", "message"),
    [
        (RuntimeError("shapes differ\nhint"), TrialState.FAIL, "exception", "shapes differ"),
        (ValueError(), TrialState.FAIL, "exception", "ValueError"),
        (MemoryError(), TrialState.PRUNED, "out of memory", "MemoryError"),
    ],
)
def test_what_training_raises_ends_the_trial_and_not_the_worker(
    tiny_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    place: Place,
    error: Exception,
    state: TrialState,
    kind: str,
    message: str,
) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 1}}))
    fail_at(monkeypatch, place, error)
    work(session)
    (trial,) = session.optuna_study().trials
    assert trial.state == state
    reason = trial.user_attrs["reason"]
    assert (reason["kind"], reason["message"].removeprefix("RuntimeError: ")) == (kind, message)


def test_failed_trial_says_its_cause_and_the_next_one_runs(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 2}}))
    fail_in_training(monkeypatch, n_spared=1)
    work(session)
    complete, failed = session.optuna_study().trials
    assert (complete.state, failed.state) == (TrialState.COMPLETE, TrialState.FAIL)
    assert failed.user_attrs["reason"]["message"] == "KeyError: 'the cause'"
    assert "Traceback" in failed.user_attrs["reason"]["traceback"]


def test_ten_failures_in_a_row_stop_the_worker_with_an_explanation(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 12}}))
    fail_in_training(monkeypatch)
    with pytest.raises(Exception, match="10 trials in a row failed here"):
        work(session)
    assert states(session) == [TrialState.FAIL] * 10 + [TrialState.WAITING] * 2


@pytest.mark.parametrize(
    ("place", "error"),
    [
        (OWN_CODE, KeyError("slot")),
        (TRAINING, torch.AcceleratorError("CUDA error: an illegal memory access")),
        (TRAINING, RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED")),
    ],
)
def test_trial_that_meets_unexplained_errors_stops_two_workers_then_fails_with_its_reason(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, place: Place, error: Exception
) -> None:
    session = initialise(configured(tiny_settings, search={"budget": {"trials": 1}}))
    with monkeypatch.context() as patched:
        fail_at(patched, place, error)
        for n_more in (1, 2):
            with pytest.raises(type(error)):
                work(session)
            assert states(session) == [TrialState.WAITING]
            assert endings(session) == ["error"] * n_more
        work(session)
    assert states(session) == [TrialState.FAIL]
    (trial,) = session.optuna_study().trials
    assert trial.user_attrs["reason"]["message"].startswith(type(error).__name__)
    assert held_leases(session.storage_handle.database) == {}
