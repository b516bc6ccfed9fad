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
from tests.postgresql import requires_postgresql, running_server
from tests.tools import diagnosed_searches
from tests.tools.made_up_searches import MadeUpSearch

NAME = "pets"


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[StudyStorage]:
    opened = create_study_storage(f"sqlite:///{tmp_path}/study.db", outage_seconds=5)
    yield opened
    opened.remove_session()
    opened.engine.dispose()


def read(handle: StudyStorage, name: str = NAME) -> Evidence:
    database = handle.database
    return read_evidence(
        database,
        read_protocol(database, name),
        totals=read_totals(database, name),
        early=read_early_ends(database, name),
        best=best_ids(database, name, MOST_BEST, complete=True),
    )


SEARCHES = [
    diagnosed_searches.healthy,
    diagnosed_searches.at_edge,
    diagnosed_searches.diverging,
    diagnosed_searches.over_pruned,
    diagnosed_searches.failing,
    diagnosed_searches.paused,
    diagnosed_searches.given_points,
]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.__name__)
def test_evidence_is_that_of_all_trials(
    handle: StudyStorage, search: Callable[[], MadeUpSearch]
) -> None:
    assert_same(handle, search())


@pytest.mark.slow
@requires_postgresql
def test_evidence_on_postgresql_is_that_of_all_trials() -> None:
    with running_server() as url:
        opened = create_study_storage(url, outage_seconds=5)
        for search in SEARCHES:
            assert_same(opened, search(), search.__name__)
        opened.remove_session()
        opened.engine.dispose()


def assert_same(handle: StudyStorage, search: MadeUpSearch, name: str = NAME) -> None:
    search.store(handle, name)
    found, counted = read(handle, name), search.evidence()
    assert found.counts == counted.counts
    assert (found.kinds, found.failure_kinds) == (counted.kinds, counted.failure_kinds)
    assert found.n_complete == counted.n_complete
    assert found.n_first_epoch == counted.n_first_epoch
    assert found.best_first == counted.best_first
    assert found.repeats == counted.repeats
    assert list(found.diverged) == list(counted.diverged)
    assert list(read_status(handle, name).diagnosis) == diagnose(counted)


def test_study_without_a_finished_trial_has_no_diagnosis(handle: StudyStorage) -> None:
    MadeUpSearch([]).store(handle, NAME)
    assert read(handle).best_first == []
    assert read_status(handle, NAME).diagnosis == ()
