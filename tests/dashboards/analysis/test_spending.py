"""What is spent of a budget in each unit, and when a study is over, with paused trials too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from dashboards.analysis.spending import Spending, describe_budget
from dashboards.analysis.status import StudyStatus, read_status
from dashboards.terminal.status import status_line
from storage.budget import Budget
from storage.optuna_rows import PAUSED
from storage.records import read_protocol
from storage.study_storage import StudyStorage, create_study_storage
from storage.tables import attempts
from tests.dashboards.analysis.test_status_schema import validated
from tests.tools.searches import add_trial, create_search

NAME = "pets"
N_EPOCHS = 8
COMPLETE, WAITING = TrialState.COMPLETE, TrialState.WAITING


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[StudyStorage]:
    opened = create_study_storage(f"sqlite:///{tmp_path / 'study.db'}", outage_seconds=5)
    yield opened
    opened.engine.dispose()


def fill(
    handle: StudyStorage, budget: Budget | None, *, n_paused: int, pruner: str = "none"
) -> None:
    """Add a complete trial of 80 s, and paused ones of 20 s."""
    n_trials = 1 + n_paused
    create_search(handle, NAME, n_trials=n_trials, n_epochs=N_EPOCHS, budget=budget, pruner=pruner)
    add_trial(handle, NAME, slot=0, state=COMPLETE, n_epochs=N_EPOCHS)
    for slot in range(1, n_trials):
        add_trial(handle, NAME, slot=slot, state=WAITING, n_epochs=2, attributes={PAUSED: 2})


def read(handle: StudyStorage) -> StudyStatus:
    status = read_status(handle, NAME)
    validated(status)
    return status


@pytest.mark.parametrize(
    ("budget", "spending", "shown"),
    [
        (None, Spending("trials", 4, 1, is_spent=False), "1/4 done"),
        (
            Budget("epochs", 40),
            Spending("epochs", 40, 14, is_spent=False),
            "14/40 epochs, 1 trial done",
        ),
        (
            Budget("hours", 0.1),
            Spending("hours", 0.1, 140 / 3600, is_spent=False),
            "0.0389/0.1 hours, 1 trial done",
        ),
    ],
)
def test_budget_is_spent_in_its_own_unit_by_paused_trials_too(
    handle: StudyStorage, budget: Budget | None, spending: Spending, shown: str
) -> None:
    fill(handle, budget, n_paused=3)
    status = read(handle)
    assert status.spending == spending
    assert (status.paused, status.waiting, status.complete, status.budget) == (3, 0, 1, 4)
    line = status_line(status)
    assert line.startswith(shown) and "3 paused" in line
    assert not status.is_over and status.has_claimable


@pytest.mark.parametrize(
    ("budget", "pruner", "is_over"),
    [
        (None, "none", True),
        (Budget("epochs", 15), "none", True),
        (Budget("epochs", 16), "none", False),
        (Budget("epochs", 15), "promotion", True),  # only a trial that can end may begin
        (Budget("epochs", 16), "promotion", False),
        (Budget("hours", 0.02), "none", True),
        (Budget("hours", 0.03), "none", False),
    ],
)
def test_study_is_over_where_the_budget_lets_no_trial_begin(
    handle: StudyStorage, budget: Budget | None, pruner: str, is_over: bool
) -> None:
    fill(handle, budget, n_paused=0, pruner=pruner)
    status = read(handle)
    assert status.is_over == is_over
    assert (status.seconds_remaining == 0) == is_over


def test_budget_lets_a_whole_trial_begin_before_any_is_complete(handle: StudyStorage) -> None:
    epochs = Budget("epochs", N_EPOCHS + 1)
    create_search(handle, NAME, n_trials=1, n_epochs=N_EPOCHS, budget=epochs, pruner="promotion")
    failed = TrialState.FAIL
    add_trial(handle, NAME, slot=0, state=failed, n_epochs=2)
    assert read(handle).is_over


def test_pauses_are_no_attempts_that_were_lost(handle: StudyStorage) -> None:
    create_search(handle, NAME, n_trials=1, n_epochs=N_EPOCHS)
    trial_id = add_trial(handle, NAME, slot=0, state=TrialState.RUNNING, n_epochs=4)
    now = handle.database.read(handle.database.now)
    one = {"trial_id": trial_id, "owner": "node1/a/7/1", "fruitless_attempts": 0}
    rows = [
        one
        | {"attempt": n, "epochs_at_start": n, "started_at": now - 9 + n, "beat_at": now - 8 + n}
        for n in (1, 2, 3)
    ]
    endings = (PAUSED, PAUSED, None)
    ended = [row | {"ending": ending} for row, ending in zip(rows, endings, strict=True)]
    handle.database.write(lambda connection: connection.execute(attempts.insert(), ended))
    status = read(handle)
    (running,) = status.running_trials
    assert running.attempt == 1 and status.lost_attempts == 0


@pytest.mark.parametrize(
    ("budget", "shown"),
    [
        (None, "3 trials of 8 epochs"),
        (Budget("epochs", 1200), "1200 epochs, trials of at most 8 epochs"),
        (Budget("hours", 7.5), "7.5 worker-hours, trials of at most 8 epochs"),
    ],
)
def test_budget_is_described_with_the_length_of_a_trial(
    handle: StudyStorage, budget: Budget | None, shown: str
) -> None:
    create_search(handle, NAME, n_trials=3, n_epochs=N_EPOCHS, budget=budget)
    assert describe_budget(read_protocol(handle.database, NAME)) == shown
