"""What commands show of a study without reading it whole, beside the same from all its rows."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from benchmarks.large_study import fill
from dashboards.analysis.status import read_status
from storage.optuna_rows import PAUSED
from storage.records import put_epoch
from storage.study_storage import StudyStorage
from storage.study_totals import (
    best_ids,
    count_states,
    longest_epoch_seconds,
    newest_ended_progress,
    read_slots,
    read_totals,
    running_ids,
)
from storage.tables import attempts
from storage.trial_rows import best_complete, by_value, read_some, read_trials
from tests.tools.counted_rows import counted_rows
from tests.tools.searches import add_trial, create_search, record

NAME = "pets"


def build(handle: StudyStorage, runs: Path, *, n_trials: int, n_epochs: int) -> None:
    """Create a study with finished trials, one that runs with two epochs, and one that waits."""
    create_search(handle, NAME, n_trials=0, n_epochs=n_epochs)
    fill(handle, NAME, runs=runs, n_trials=n_trials, n_epochs=n_epochs)
    running, waiting = TrialState.RUNNING, TrialState.WAITING
    add_trial(handle, NAME, slot=n_trials, state=running, n_epochs=2)
    add_trial(handle, NAME, slot=n_trials + 1, state=waiting, n_epochs=0)


def status(handle: StudyStorage) -> object:
    return read_status(handle, NAME)


def best(handle: StudyStorage) -> object:
    return read_some(handle, best_ids(handle.database, NAME, 1, complete=True))


def polls(handle: StudyStorage) -> object:
    return (
        count_states(handle.database, NAME),
        running_ids(handle.database, NAME),
        longest_epoch_seconds(handle.database, NAME),
    )


def slots(handle: StudyStorage) -> object:
    return read_slots(handle.database, NAME)


@pytest.mark.parametrize("read", [status, best, polls, slots])
def test_light_reading_reads_no_epoch_of_finished_trials(
    new_handle: Callable[[], StudyStorage], tmp_path: Path, read: Callable[[StudyStorage], object]
) -> None:
    counts = []
    for n_epochs in (3, 30):
        handle = new_handle()
        build(handle, tmp_path, n_trials=40, n_epochs=n_epochs)
        with counted_rows(handle) as rows:
            read(handle)
        counts.append(rows.count)
    # A best trial has 30 epochs, and each of the three that ended early last at most as many.
    few, many = counts
    assert 0 < many <= few + 2 * 4 * 30
    assert many < 40 * 30


@pytest.mark.parametrize("read", [best, polls])
def test_light_reading_takes_no_more_rows_of_more_trials(
    new_handle: Callable[[], StudyStorage], tmp_path: Path, read: Callable[[StudyStorage], object]
) -> None:
    counts = []
    for n_trials in (40, 400):
        handle = new_handle()
        build(handle, tmp_path, n_trials=n_trials, n_epochs=3)
        with counted_rows(handle) as rows:
            read(handle)
        counts.append(rows.count)
    assert counts[0] == counts[1]


def test_status_says_what_all_rows_together_say(handle: StudyStorage, tmp_path: Path) -> None:
    build(handle, tmp_path, n_trials=60, n_epochs=5)
    rows, found = read_trials(handle, NAME), read_status(handle, NAME)
    counts = Counter(row.state for row in rows)
    assert found.complete > found.pruned > found.failed
    assert counts == {name: getattr(found, name) for name in counts}
    assert found.best == best_complete(rows)
    assert found.recorded_epochs == sum(row.epochs_done for row in rows)
    assert found.seconds_spent == sum(row.seconds for row in rows)
    kinds = Counter(row.reason["kind"] for row in rows if row.reason)
    assert {one.kind: one.count for one in found.reasons} == kinds
    assert len(found.newest_early_ends) == 3
    (running,) = found.running_trials
    assert (running.number, running.epoch) == (60, 2)
    assert read_some(handle, best_ids(handle.database, NAME, 7)) == by_value(rows)[:7]
    assert [slot.number for slot in read_slots(handle.database, NAME)] == list(range(62))


def test_attempt_that_adds_no_epoch_is_no_progress(handle: StudyStorage) -> None:
    create_search(handle, NAME, n_trials=0, n_epochs=4)
    running = TrialState.RUNNING
    trial_id = add_trial(handle, NAME, slot=0, state=running, n_epochs=3)
    assert newest_ended_progress(handle.database, NAME) is None
    one: dict[str, Any] = {"trial_id": trial_id, "owner": "o", "fruitless_attempts": 0}
    rows = [
        one | {"attempt": 1, "epochs_at_start": 0, "started_at": 0.0, "beat_at": 50.0},
        one | {"attempt": 2, "epochs_at_start": 3, "started_at": 90.0, "beat_at": 160.0},
    ]
    ended = [row | {"ending": "lost"} for row in rows]
    handle.database.write(lambda connection: connection.execute(attempts.insert(), ended))
    assert newest_ended_progress(handle.database, NAME) == 50.0
    handle.database.write(lambda connection: put_epoch(connection, trial_id, record(4, 0.5)))
    assert newest_ended_progress(handle.database, NAME) == 160.0


def test_paused_trials_are_counted_apart_from_those_that_wait(handle: StudyStorage) -> None:
    create_search(handle, NAME, n_trials=4, n_epochs=8)
    waiting, complete = TrialState.WAITING, TrialState.COMPLETE
    add_trial(handle, NAME, slot=0, state=complete, n_epochs=8)
    add_trial(handle, NAME, slot=1, state=waiting, n_epochs=2, attributes={PAUSED: 2})
    add_trial(handle, NAME, slot=2, state=waiting, n_epochs=4, attributes={PAUSED: 4})
    add_trial(handle, NAME, slot=3, state=waiting, n_epochs=0)
    add_trial(handle, NAME, slot=4, state=TrialState.RUNNING, n_epochs=3, attributes={PAUSED: 2})
    totals = {one.state_name: one for one in read_totals(handle.database, NAME)}
    paused = totals["paused"]
    assert (paused.n_trials, paused.n_begun, paused.n_epochs) == (2, 2, 6)
    assert totals["waiting"].n_trials == totals["running"].n_trials == 1
    rows = read_trials(handle, NAME)
    assert [row.state for row in rows] == ["complete", "paused", "paused", "waiting", "running"]
    assert all(PAUSED not in row.attributes for row in rows)
