"""The page of a study as we send it, beside what optuna-dashboard itself would send."""

import gzip
import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage, get_storage
from optuna_dashboard import save_note, wsgi

from benchmarks.large_study import fill
from dashboards.analysis.sampling import sample
from dashboards.optuna_dashboard import study_page
from dashboards.optuna_dashboard.app import build_dashboard
from storage.study_storage import StudyStorage
from tests.tools.searches import create_search
from tests.tools.wsgi_client import ask


@pytest.fixture
def large_study(empty_study: StudyStorage, tmp_path: Path) -> StudyStorage:
    """Return a study of sixty finished trials, the second in the database."""
    create_search(empty_study, "large", n_trials=60, n_epochs=5)
    fill(empty_study, "large", runs=tmp_path, n_trials=60, n_epochs=5, with_files=True)
    return empty_study


def page(app: Any, study: int = 1, **asked: Any) -> Any:
    return json.loads(ask(app, f"/api/studies/{study}", **asked).body)


def of_the_library(handle: StudyStorage, study: int = 1, **asked: Any) -> Any:
    return page(wsgi(get_storage(RDBStorage(str(handle.engine.url)))), study, **asked)


def ordered(found: dict[str, Any]) -> dict[str, Any]:
    """Return a page without the order of what has none: attributes and files."""
    for trial in found["trials"] + found["best_trials"]:
        trial["user_attrs"].sort(key=str)
        trial["artifacts"].sort(key=str)
    found["union_user_attrs"].sort(key=str)
    # Ours by name, also where the study was created before it was stored.
    return {**found, "objective_names": found.get("objective_names", ["validation macro-F1"])}


@pytest.mark.parametrize("query", ["", "after=0", "after=3", "after=99"])
def test_page_is_that_of_optuna_dashboard(searched_study: StudyStorage, query: str) -> None:
    optuna_study = optuna.load_study(study_name="pets", storage=searched_study)
    save_note(optuna_study, "of the study")
    save_note(optuna.Trial(optuna_study, 2), "of a trial " * 500)
    app = build_dashboard(searched_study)
    expected = ordered(of_the_library(searched_study, query=query))
    assert ordered(page(app, query=query)) == expected
    assert ordered(page(app, query=query)) == expected  # kept texts too


def test_objective_of_our_studies_has_a_name_and_that_of_others_has_not(
    searched_study: StudyStorage,
) -> None:
    other = optuna.create_study(study_name="others", storage=searched_study)
    other.add_trial(optuna.create_trial(value=1.0))
    app = build_dashboard(searched_study)
    assert page(app)["objective_names"] == ["validation macro-F1"]
    assert "objective_names" not in page(app, other._study_id)


def test_page_shows_what_has_changed_since(searched_study: StudyStorage) -> None:
    app = build_dashboard(searched_study)
    before = page(app)
    optuna_study = optuna.load_study(study_name="pets", storage=searched_study)
    save_note(optuna.Trial(optuna_study, before["trials"][0]["trial_id"]), "looked at")
    optuna_study.ask()
    after = page(app)
    assert after["trials"][0]["note"] == {"version": 1, "body": "looked at"}
    assert len([one for one in after["trials"] if one["state"] == "Running"]) == 2
    assert ordered(after) == ordered(of_the_library(searched_study))


@pytest.mark.parametrize(("path", "query"), [("/99", ""), ("/1", "after=-1")])
def test_page_that_is_none_is_left_to_optuna_dashboard(
    searched_study: StudyStorage, path: str, query: str
) -> None:
    app, library = build_dashboard(searched_study), wsgi(get_storage(searched_study))
    answers = [ask(one, f"/api/studies{path}", query=query) for one in (app, library)]
    assert answers[0].status == answers[1].status >= 400
    assert answers[0].body == answers[1].body


def test_page_of_a_study_of_another_kind_is_left_to_optuna_dashboard(
    searched_study: StudyStorage,
) -> None:
    optuna.create_study(
        study_name="two", storage=searched_study, directions=["minimize", "maximize"]
    ).add_trial(optuna.create_trial(values=[1, 2]))
    app = build_dashboard(searched_study)
    assert page(app, 2) == of_the_library(searched_study, 2)


def test_page_of_a_large_study_has_notes_of_all_trials_and_curves_of_a_sample(
    large_study: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_page, "MOST_CURVES", 30)
    running = optuna.load_study(study_name="large", storage=large_study).ask()
    running.report(0.5, 1)
    found, whole = page(build_dashboard(large_study), 2), of_the_library(large_study, 2)
    with_curve = [one["number"] for one in found["trials"] if one["intermediate_values"]]
    assert 20 <= len(with_curve) <= 31 and found["best_trials"][0]["number"] in with_curve
    assert with_curve[-10:] == list(range(51, 61))
    for mine, other in zip(ordered(found)["trials"], ordered(whole)["trials"], strict=True):
        curve = mine.pop("intermediate_values")
        assert curve in ([], other.pop("intermediate_values")), mine["number"]
        assert mine == other
    assert all(one["note"]["body"] for one in found["trials"][:-1])


def test_page_is_compressed_for_who_asks_so(searched_study: StudyStorage) -> None:
    app = build_dashboard(searched_study)
    plain = ask(app, "/api/studies/1")
    packed = ask(app, "/api/studies/1", headers={"Accept-Encoding": "gzip, br"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert int(packed.headers["Content-Length"]) == len(packed.body) < len(plain.body)


def test_sample_has_the_best_the_newest_and_some_of_the_rest() -> None:
    numbers = list(range(100))
    assert sample(numbers, 100, float) == numbers
    few = sample(numbers, 30, lambda number: None if number % 2 else -float(number))
    assert few == sorted(set(few)) and len(few) <= 30
    assert {*range(0, 20, 2), *range(90, 100)} <= {*few} and {50, 60, 70} <= {*few}
    assert few == sample(numbers, 30, lambda number: None if number % 2 else -float(number))
