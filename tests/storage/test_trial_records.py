"""Trials with their epochs, a page at a time, beside what other readers say of them."""

from datetime import UTC, datetime

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState, create_trial

from storage import trial_records
from storage.errors import StudyNotFoundError
from storage.leases import LOST, acquire, end
from storage.process_identity import Owner
from storage.records import read_epochs
from storage.study_storage import StudyStorage
from storage.trial_records import stream_trial_records
from storage.trial_rows import read_trials
from tests.tools.searches import add_trial, create_search

NAME = "pets"
STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING)


@pytest.fixture
def searched(handle: StudyStorage) -> StudyStorage:
    create_search(handle, NAME, n_trials=8, n_epochs=5)
    for slot in range(7):
        state = STATES[slot % len(STATES)]
        waits = state is TrialState.WAITING
        add_trial(handle, NAME, slot=slot, state=state, n_epochs=0 if waits else 5 - slot % 4)
    foreign = create_trial(value=0.9)
    optuna.load_study(study_name=NAME, storage=handle).add_trial(foreign)
    return handle


@pytest.mark.parametrize("page", [1, 3, 500])
def test_records_are_those_of_other_readers_whatever_the_page(
    searched: StudyStorage, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(trial_records, "MOST_TRIALS", page)
    records = list(stream_trial_records(searched, NAME))
    rows = read_trials(searched, NAME)
    assert [record.row for record in records] == rows and len(rows) == 7
    epochs = read_epochs(searched.database, [row.trial_id for row in rows])
    assert {one.row.trial_id: list(one.epochs) for one in records if one.epochs} == epochs


def test_number_of_statements_does_not_grow_with_the_trials_of_a_page(
    searched: StudyStorage,
) -> None:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sqlalchemy.event.listen(searched.engine, "after_cursor_execute", note)
    list(stream_trial_records(searched, NAME))
    n_before = len(statements)
    for slot in range(7, 27):
        add_trial(searched, NAME, slot=slot, state=TrialState.PRUNED, n_epochs=3)
    statements.clear()
    assert len(list(stream_trial_records(searched, NAME))) == 27
    assert 0 < len(statements) <= n_before


def test_times_are_in_utc_and_an_end_is_that_of_a_finished_trial(
    searched: StudyStorage,
) -> None:
    now = datetime.now(UTC)
    by_state = {one.row.state: one for one in stream_trial_records(searched, NAME)}
    complete, waiting = by_state["complete"], by_state["waiting"]
    assert complete.started_at is not None and complete.ended_at is not None
    assert abs((complete.ended_at - now).total_seconds()) < 3600
    assert complete.started_at <= complete.ended_at
    assert waiting.started_at is None and waiting.ended_at is None


def test_every_claim_of_a_trial_counts_as_an_attempt(searched: StudyStorage) -> None:
    waiting = next(r.row for r in stream_trial_records(searched, NAME) if r.row.slot == 3)
    for outcome in (LOST, "complete"):
        lease = acquire(searched.database, waiting.trial_id, Owner.current())
        assert lease is not None
        end(searched.database, lease, outcome)
    n_attempts = {one.row.slot: one.n_attempts for one in stream_trial_records(searched, NAME)}
    assert n_attempts == {slot: 2 if slot == 3 else 0 for slot in range(7)}


def test_missing_study_is_rejected_by_name(searched: StudyStorage) -> None:
    with pytest.raises(StudyNotFoundError, match="got 'cats'"):
        list(stream_trial_records(searched, "cats"))
