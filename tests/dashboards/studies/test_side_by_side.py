"""Studies side by side: what is read of them, in a terminal and as a page."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from rich.console import Console

from dashboards.report.side_by_side import write_side_by_side
from dashboards.studies.side_by_side import MEASURES, SideBySide, compare_studies
from dashboards.terminal.studies import side_by_side_tables
from storage.errors import StudyNotFoundError
from storage.records import IMPORTED_FROM, read_protocol
from storage.study_storage import StudyStorage, create_study_storage
from tests.dashboards.confirmations import BETTER, NOT_TOLD, add_confirmation
from tests.tools.searches import add_trial, create_search


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[StudyStorage]:
    opened = create_study_storage(f"sqlite:///{tmp_path}/study.db", outage_seconds=5)
    create_search(opened, "narrow", n_trials=3, n_epochs=4)
    create_search(opened, "wide", n_trials=2, n_epochs=4)
    for slot, (state, n_epochs, best) in enumerate(
        [
            (TrialState.COMPLETE, 4, 0.5),
            (TrialState.PRUNED, 2, 0.9),
            (TrialState.COMPLETE, 4, 0.4),
        ]
    ):
        add_trial(opened, "narrow", slot=slot, state=state, n_epochs=n_epochs, best=best)
    add_trial(opened, "wide", slot=0, state=TrialState.COMPLETE, n_epochs=4, best=0.6)
    yield opened
    opened.engine.dispose()


def compared(handle: StudyStorage, **changes: dict[str, Any]) -> SideBySide:
    configurations = {
        name: {**read_protocol(handle.database, name).configuration, **changes.get(name, {})}
        for name in ("narrow", "wide")
    }
    return compare_studies(handle, configurations)


def shown(found: SideBySide, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(*side_by_side_tables(found))
    return capture.get()


def test_results_and_costs_are_those_of_each_study(handle: StudyStorage) -> None:
    narrow, wide = compared(handle).results
    assert (narrow.best_trial, narrow.epochs, narrow.worker_seconds) == (0, 10, 100.0)
    assert (wide.best_trial, wide.epochs, wide.worker_seconds) == (0, 4, 40.0)
    assert narrow.best_value == pytest.approx(0.5 * (1 - 0.8**4))
    assert (narrow.trials["complete"], narrow.trials["pruned"]) == (2, 1)
    assert (narrow.final_validation_macro_f1, narrow.test_macro_f1) == (None, None)
    assert [seconds for seconds, _ in narrow.curve] == [40.0, 60.0, 100.0]
    assert {best for _, best in narrow.curve} == {narrow.best_value}  # pruned ones do not count


def test_settings_that_decide_nothing_are_no_difference(handle: StudyStorage) -> None:
    found = compared(handle, wide={"seed": 8, "workers": {"n_workers": 9}, "description": "x"})
    assert found.differences == {"search.budget.trials": ("3", "2"), "seed": ("7", "8")}
    found = compared(handle, wide={"evaluation": {"flip_average": True}})
    assert found.differences["evaluation.flip_average"] == ("not stored", "True")


def test_other_images_another_metric_and_an_open_budget_are_said_first(
    handle: StudyStorage,
) -> None:
    assert compared(handle).cautions == ("wide is not over: 1 of 2 trials are done",)
    with handle.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE protocols SET facts = json_set(facts, '$.data_fingerprint', 'eeee') "
            "WHERE study_name = 'wide'"
        )
    found = compared(handle, wide={"evaluation": {"flip_average": True}})
    images, metric, _ = found.cautions
    assert "images differ, so their scores cannot be compared" in images
    assert "narrow dddddddddddd, wide eeee" in images and "one metric means two things" in metric
    assert shown(found, 80).startswith("caution: their images differ")


def test_best_that_another_study_trained_is_named(handle: StudyStorage) -> None:
    attributes: dict[str, object] = {IMPORTED_FROM: {"study": "a", "trial": 1}}
    add_trial(
        handle,
        "wide",
        slot=1,
        state=TrialState.COMPLETE,
        n_epochs=4,
        best=0.8,
        attributes=attributes,
    )
    assert any("the best trial of wide was imported" in one for one in compared(handle).cautions)


def test_json_holds_all_of_it(handle: StudyStorage) -> None:
    found = json.loads(json.dumps(compared(handle).as_json()))
    assert set(found) == {"results", "differences", "cautions"}
    assert [one["study_name"] for one in found["results"]] == ["narrow", "wide"]


@pytest.mark.parametrize("width", [60, 80])
def test_tables_fit_the_terminal_and_cut_nothing(handle: StudyStorage, width: int) -> None:
    text = shown(compared(handle), width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    for said in (
        "2 complete, 1 pruned",
        "0.2952",
        "2 min",
        "search.budget.trials",
        "caution: wide",
    ):
        assert said in " ".join(text.split()), said


def test_page_holds_tables_cautions_and_curves_alone(handle: StudyStorage, tmp_path: Path) -> None:
    path = tmp_path / "pages" / "side.html"
    write_side_by_side(compared(handle), path)
    page = path.read_text()
    assert "<h1>narrow, wide</h1>" in page and "<svg" in page
    assert "<figure><svg" in page and all(f"<td>{name}</td>" in page for name in MEASURES)
    assert "0.2952" in page and "search.budget.trials" in page and "wide is not over" in page
    assert not any(tag in page for tag in ("<script", "<link", "<img", "<a "))


def test_unknown_study_is_rejected(handle: StudyStorage) -> None:
    with pytest.raises(StudyNotFoundError, match="got 'cats'"):
        compare_studies(handle, {"cats": {}})


def test_confirmed_scores_stand_beside_those_of_the_search(handle: StudyStorage) -> None:
    before = shown(compared(handle), 100)
    assert "confirmed macro-F1" in before
    add_confirmation(handle, BETTER, study_name="narrow")
    add_confirmation(handle, NOT_TOLD, study_name="wide")
    found = compared(handle)
    narrow, wide = found.results
    assert (narrow.confirmed_trial, narrow.is_better) == (1, True)
    assert (wide.confirmed_trial, wide.is_better) == (1, False)
    rows = [line.split() for line in shown(found, 100).splitlines()]
    assert ["confirmed", "macro-F1", "0.5500", "0.4500"] in rows
    assert ["of", "winner,", "trial", "1", "1"] in rows
    assert ["better", "than", "its", "default", "yes", "not", "told"] in rows
