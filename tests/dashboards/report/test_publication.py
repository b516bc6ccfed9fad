"""Figures and tables of a report as files for papers."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState

from dashboards.analysis.confusion import save_confusion_csv
from dashboards.errors import DashboardError
from dashboards.report.content import compose_report
from dashboards.report.publication import name_figures, write_figures, write_tables
from dashboards.report.report import PublishedFiles, write_report
from dashboards.report.result_tables import compose_tables
from dashboards.report.table_formats import render_csv
from storage.records import (
    read_protocol,
)
from storage.run_paths import RunPaths
from storage.study_storage import StudyStorage
from storage.test_evaluations import (
    TestEvaluation,
    claim_tests,
    finish_tests,
)
from tests.dashboards.report.test_report import Page
from tests.tools.searches import add_trial

CLASS_NAMES = ["cat", "<script>alert(1)</script>", "$dog_1$"]
CONFUSION = np.array([[4, 1, 0], [0, 0, 0], [1, 0, 5]])
METRICS = {"loss": 1.2, "accuracy": 0.8182, "top5_accuracy": 1.0, "macro_f1": 0.6321}


@pytest.fixture
def runs(tmp_path: Path, empty_study: StudyStorage) -> Path:
    key = read_protocol(empty_study.database, "pets").study_key
    RunPaths(tmp_path / "runs", "pets").claim(key)
    return tmp_path / "runs"


@pytest.fixture
def tested(searched_study: StudyStorage, final_trial_id: int, runs: Path) -> StudyStorage:
    evaluation = TestEvaluation(final_trial_id, "pets", 1, "the search is over", "abc")
    claim_tests(searched_study.database, [evaluation])
    finish_tests(searched_study.database, {final_trial_id: METRICS})
    save_confusion_csv(RunPaths(runs, "pets").final(0).confusion_csv, CONFUSION, CLASS_NAMES)
    return searched_study


def read_table(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / f"{name}.csv").read_text())))


def test_every_figure_of_the_report_has_a_name_of_its_own(
    tested: StudyStorage, runs: Path
) -> None:
    page = runs / "pets" / "report.html"
    assert write_report(tested, "pets", runs=runs, path=page) == PublishedFiles([], [])
    names = name_figures(compose_report(tested, "pets", runs=runs)).keys()
    assert len(names) == Page(page.read_text(encoding="utf-8")).tags["svg"] == 15
    assert {
        "who-trained-when",
        "optimisation-history",
        "learning-curves",
        "score-by-learning-rate",
        "final-1-confusion-matrix",
    } <= names


def test_each_figure_is_written_as_svg_and_pdf(
    searched_study: StudyStorage, runs: Path, tmp_path: Path
) -> None:
    content = compose_report(searched_study, "pets", runs=runs)
    few = replace(content.search, curves=None, parallel=None, slices=(), pairs=())
    files = write_figures(replace(content, search=few), tmp_path / "new" / "figures")
    assert [path.name for path in files] == [
        "who-trained-when.svg",
        "who-trained-when.pdf",
        "optimisation-history.svg",
        "optimisation-history.pdf",
    ]
    assert [path.read_bytes()[:5] for path in files] == [b"<?xml", b"%PDF-"] * 2


def test_figures_of_the_same_title_get_a_number(searched_study: StudyStorage, runs: Path) -> None:
    content = compose_report(searched_study, "pets", runs=runs)
    one = content.search.slices[0]
    same = replace(content.search, slices=(one, one, one))
    names = name_figures(replace(content, search=same))
    assert {name for name in names if name.startswith("score-by")} == {
        "score-by-learning-rate",
        "score-by-learning-rate-2",
        "score-by-learning-rate-3",
    }


def test_tables_say_what_the_database_says(
    tested: StudyStorage, runs: Path, tmp_path: Path
) -> None:
    files = write_tables(compose_report(tested, "pets", runs=runs), tmp_path / "tables")
    names = ("best-trials", "final-test", "final-1-classes")
    assert [path.name for path in files] == [
        f"{name}{suffix}" for name in names for suffix in (".csv", ".tex")
    ]
    first, second, *_ = read_table(tmp_path / "tables", "best-trials")
    assert (first["trial"], first["validation_macro_f1"]) == ("1", "0.61")
    assert (second["trial"], second["state"], second["best_epoch"]) == ("0", "complete", "2")
    assert {"learning_rate", "blocks_1", "dropout"} <= first.keys()
    (test,) = read_table(tmp_path / "tables", "final-test")
    assert (test["searched_trial"], test["test_accuracy"]) == ("1", "0.8182")
    assert test["test_images"] == "11" and float(test["test_accuracy_standard_error"]) > 0.1
    cat, hostile, dog = read_table(tmp_path / "tables", "final-1-classes")
    assert (cat["class"], cat["recall"], cat["images"]) == ("cat", "0.8", "5")
    assert (hostile["class"], hostile["recall"], hostile["f1"]) == (CLASS_NAMES[1], "", "")
    assert dog["images"] == "6"
    latex = (tmp_path / "tables" / "final-1-classes.tex").read_text()
    assert r"\textless{}script\textgreater{}alert(1)" in latex and r"\$dog\_1\$" in latex


def test_results_over_seeds_have_mean_and_standard_deviation(
    empty_study: StudyStorage, runs: Path
) -> None:
    with empty_study.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE protocols SET "
            "configuration = json_set(configuration, '$.search.space', 'given')"
        )
    for slot, score in enumerate((0.25, 0.75), start=6):
        trial_id = add_trial(
            empty_study,
            "pets",
            slot=slot,
            state=TrialState.COMPLETE,
            n_epochs=1,
            best=score / 0.2,
            attributes={"label": "plain"},
        )
        with empty_study.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM trial_params WHERE trial_id = ?", (trial_id,))
    content = compose_report(empty_study, "pets", runs=runs)
    (table,) = [one for one in compose_tables(content) if one.name == "results-over-seeds"]
    plain = list(csv.DictReader(io.StringIO(render_csv(table))))[0]
    assert plain["runs"] == "8" and plain["complete_runs"] == "2"
    assert float(plain["validation_macro_f1_mean"]) == pytest.approx(0.5)
    for name in ("macro_f1", "accuracy"):
        assert float(plain[f"validation_{name}_standard_deviation"]) == pytest.approx(0.125**0.5)
    assert plain["difference"] == plain["verdict"] == ""


def test_search_has_no_results_over_seeds(searched_study: StudyStorage, runs: Path) -> None:
    tables = compose_tables(compose_report(searched_study, "pets", runs=runs))
    assert [table.name for table in tables] == ["best-trials"]


def test_new_study_has_nothing_to_publish(
    empty_study: StudyStorage, runs: Path, tmp_path: Path
) -> None:
    content = compose_report(empty_study, "pets", runs=runs)
    assert name_figures(content) == {} and compose_tables(content) == []
    assert write_figures(content, tmp_path / "figures") == []


def test_folder_that_cannot_be_made_is_rejected(
    searched_study: StudyStorage, runs: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "best-trials.csv").mkdir()
    content = compose_report(searched_study, "pets", runs=runs)
    few = replace(content.search, curves=None, parallel=None, slices=(), pairs=())
    told = "must be a folder that can be written, .* cannot .*: choose another folder"
    for folder in (tmp_path / "file" / "new", tmp_path / ("long" * 100)):
        with pytest.raises(DashboardError, match=f"--tables {told}"):
            write_tables(content, folder)
    with pytest.raises(DashboardError, match=f"--tables {told}"):
        write_tables(content, tmp_path)
    with pytest.raises(DashboardError, match=f"--figures {told}"):
        write_figures(replace(content, search=few), tmp_path / "file")
