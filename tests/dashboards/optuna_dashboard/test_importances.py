"""optuna-dashboard and the report show the same importances."""

import json
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from dashboards.analysis.importances import read_importances
from dashboards.analysis.search_space import read_space
from dashboards.optuna_dashboard.app import build_dashboard
from storage.study_storage import StudyStorage, create_study_storage
from tests.tools.searches import SPACE, add_trial, create_search
from tests.tools.wsgi_client import ask


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[StudyStorage]:
    opened = create_study_storage(f"sqlite:///{tmp_path / 'study.db'}", outage_seconds=5)
    create_search(opened, "pets", n_trials=20, n_epochs=2)
    yield opened
    opened.engine.dispose()


def shown(handle: StudyStorage, study: int = 1) -> list[dict[str, object]]:
    body = ask(build_dashboard(handle), f"/api/studies/{study}/param_importances").body
    (found,) = json.loads(body)["param_importances"]
    return list(found)


def test_dashboard_shows_the_importances_of_the_report(handle: StudyStorage) -> None:
    for slot in range(12):
        add_trial(handle, "pets", slot=slot, state=TrialState.COMPLETE, n_epochs=2)
    expected = read_importances(handle, "pets", read_space(handle, "pets"), is_given=False)
    assert {one["name"]: one["importance"] for one in shown(handle)} == expected.shares
    assert shown(handle)[0]["distribution"] == "FloatDistribution"


def test_dashboard_shows_none_where_the_report_has_none(handle: StudyStorage) -> None:
    for slot in range(9):
        add_trial(handle, "pets", slot=slot, state=TrialState.COMPLETE, n_epochs=2)
    assert shown(handle) == []


def test_importances_of_another_programs_study_are_left_to_optuna_dashboard(
    handle: StudyStorage,
) -> None:
    other = optuna.create_study(study_name="others", storage=handle)
    for rate in (0.1, 0.2, 0.3):
        space = {"learning_rate": SPACE["learning_rate"]}
        params = {"learning_rate": rate}
        other.add_trial(create_trial(value=rate, params=params, distributions=space))
    assert [one["name"] for one in shown(handle, other._study_id)] == ["learning_rate"]
    missing = ask(build_dashboard(handle), "/api/studies/99/param_importances")
    assert missing.status == 404
