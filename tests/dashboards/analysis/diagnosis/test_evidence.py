"""What a diagnosis reads from a database, beside the same counted trial by trial."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboards.analysis.diagnosis.evidence import MOST_BEST, Evidence, read_evidence
from dashboards.analysis.diagnosis.sentences import diagnose
from dashboards.analysis.status import read_status
from storage.records import read_protocol
from storage.study_storage import StudyStorage, create_study_storage
from storage.study_totals import best_ids, read_early_ends, read_totals
from tests.tools import diagnosed_searches
from tests.tools.made_up_searches import MadeUpSearch

NAME = "pets"


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[StudyStorage]:
    opened = create_study_storage(f"sqlite:///{tmp_path}/study.db", outage_seconds=5)
    yield opened
    opened.remove_session()
    opened.engine.dispose()


def read(handle: StudyStorage) -> Evidence:
    database = handle.database
    return read_evidence(
        database,
        read_protocol(database, NAME),
        totals=read_totals(database, NAME),
        early=read_early_ends(database, NAME),
        best=best_ids(database, NAME, MOST_BEST, complete=True),
    )


@pytest.mark.parametrize(
    "search",
    [
        diagnosed_searches.healthy,
        diagnosed_searches.at_edge,
        diagnosed_searches.diverging,
        diagnosed_searches.over_pruned,
        diagnosed_searches.failing,
        diagnosed_searches.paused,
        diagnosed_searches.given_points,
    ],
)
def test_evidence_is_that_of_all_trials(
    handle: StudyStorage, search: Callable[[], MadeUpSearch]
) -> None:
    search().store(handle, NAME)
    found, counted = read(handle), search().evidence()
    assert found.counts == counted.counts
    assert (found.kinds, found.failure_kinds) == (counted.kinds, counted.failure_kinds)
    assert (found.n_paused, found.n_complete) == (counted.n_paused, counted.n_complete)
    assert found.n_first_epoch == counted.n_first_epoch
    assert found.best_first == counted.best_first
    assert found.repeats == counted.repeats
    assert found.diverged == counted.diverged
    assert list(read_status(handle, NAME).diagnosis) == diagnose(counted)


def test_study_without_a_finished_trial_has_no_diagnosis(handle: StudyStorage) -> None:
    MadeUpSearch([]).store(handle, NAME)
    assert read(handle).best_first == []
    assert read_status(handle, NAME).diagnosis == ()
