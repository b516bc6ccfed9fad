"""The report, parsed as a browser would."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from dashboards.analysis.confusion import save_confusion_csv
from dashboards.errors import DashboardError
from dashboards.figures.mistakes import PicturedMistake, save_mistakes
from dashboards.report.report import write_report
from storage.errors import StorageError, StudyNotFoundError
from storage.final_groups import FinalGroup
from storage.records import read_protocol
from storage.run_paths import RunPaths, TrialPaths
from storage.study_storage import StudyStorage
from storage.test_evaluations import (
    TestEvaluation,
    claim_tests,
    finish_tests,
)
from tests.tools import diagnosed_searches

VOID_TAGS = {"meta", "br", "img", "link", "input", "hr"}
CLASS_NAMES = ["cat", "<script>alert(1)</script>", "$dog_1$"]


class Page(HTMLParser):
    """Tags, texts and addresses of a page; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.contents: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self.still_html = re.sub("<script.*?</script>", "", text, flags=re.DOTALL)
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        addresses = [value or "" for name, value in attrs if name.endswith(("src", "href"))]
        self.addresses += [address for address in addresses if not address.startswith("#")]
        if tag == "a":
            self.contents += [address for address in addresses if address.startswith("#")]
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID_TAGS:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        else:
            self.text += data

    @property
    def own_scripts(self) -> list[str]:
        """The first words of every script, but for plotly's."""
        return [text.strip()[:40] for text in self.scripts if "plotly.js v" not in text[:40]]


@pytest.fixture
def runs(tmp_path: Path, empty_study: StudyStorage) -> Path:
    key = read_protocol(empty_study.database, "pets").study_key
    RunPaths(tmp_path / "runs", "pets").claim(key)
    return tmp_path / "runs"


def report(opened: StudyStorage, runs: Path) -> Page:
    path = runs / "pets" / "report.html"
    write_report(opened, "pets", runs=runs, path=path)
    return Page(path.read_text(encoding="utf-8"))


def final_section(runs: Path) -> Page:
    text = (runs / "pets" / "report.html").read_text(encoding="utf-8")
    return Page("<h2>Final run" + text.split("<h2>Final run")[1].split("</section>")[0])


def test_report_of_new_study_is_sensible(empty_study: StudyStorage, runs: Path) -> None:
    page = report(empty_study, runs)
    assert "No final run exists yet, so nothing has been tested. No trial is complete" in page.text
    assert "No epoch is trained yet." in page.text
    assert "0 / 6" in page.text and page.tags["svg"] == 0
    assert "Final run, test" in page.text and "test images not used yet" in page.text


def test_report_of_search_shows_figures_trials_and_cost(
    searched_study: StudyStorage, runs: Path
) -> None:
    page = report(searched_study, runs)
    assert "Trial 1 leads the search with 0.6100 on the validation images" in page.text
    # History, curves, parallel coordinates, 5 slices, 3 pairs, who trained when.
    assert page.tags["svg"] == 12
    assert "0.6100" in page.text and "validation, trial 1" in page.text
    assert "11 epochs trained, of 24" in page.text and "pruning has saved 2" in page.text
    assert "exception: <b>no memory</b>" in page.text and page.tags["b"] == 6


def test_report_of_fork_tells_its_own_trials_from_imported_ones(
    forked_study: StudyStorage, runs: Path
) -> None:
    page = report(forked_study, runs)
    assert "1 trial was imported from study older and is not counted here" in page.text
    assert "6*" in page.text and "* imported from another study" in page.text
    assert "| 6 (imported) |" in (runs / "pets" / "report.md").read_text(encoding="utf-8")
    assert "11 epochs trained, of 24" in page.text


def test_report_of_final_run_before_its_test_says_so(
    searched_study: StudyStorage, final_trial_id: int, runs: Path
) -> None:
    page = report(searched_study, runs)
    assert "No test result yet. The final run is" in page.text
    assert "not evaluated yet" in page.text and "best epoch 3" in page.text


METRICS = {"loss": 1.2, "accuracy": 0.6543, "top5_accuracy": 1.0, "macro_f1": 0.6321}
CONFUSION = np.array([[4, 1, 0], [0, 3, 2], [1, 0, 5]])


@pytest.fixture
def tested(searched_study: StudyStorage, final_trial_id: int, runs: Path) -> TrialPaths:
    """The files of a final run that was tested before its mistakes were kept."""
    evaluation = TestEvaluation(
        final_trial_id, "pets", 1, "the search is over <i>", "abc" * 21 + "d"
    )
    claim_tests(searched_study.database, [evaluation])
    finish_tests(searched_study.database, {final_trial_id: METRICS})
    files = RunPaths(runs, "pets").final(0)
    save_confusion_csv(files.confusion_csv, CONFUSION, CLASS_NAMES)
    return files


def test_report_of_tested_final_run_shows_metrics_and_escaped_classes(
    searched_study: StudyStorage, tested: TrialPaths, runs: Path
) -> None:
    page = report(searched_study, runs)
    assert "0.6321" in page.text and "65.43 %" in page.text
    assert "the search is over <i>" in page.text
    verdict = " ".join(page.text.split("Verdict")[1].split("Best trials")[0].split())
    assert (
        verdict.startswith("0.6321 ± 0.1") and "macro-F1 of the final run on the test" in verdict
    )
    assert "The winner is trial 1 of the search: learning rate" in verdict
    assert not any(text.startswith("alert") for text in page.own_scripts)
    assert "<script>alert(1)</script>" in page.text
    assert final_section(runs).tags["svg"] == 3 and "Easiest classes" in page.text
    assert "± 10.83 %" in page.text and "Measured on 16 test images" in page.text
    assert "validation minus test+0.0679" in page.text.replace("\n", "")
    assert "2 of 5" in page.text.split("Most confused")[1]
    assert "top-5" not in page.text, "of three classes it is always 1"
    assert "The pictures of its mistakes were not kept." in page.text


def test_report_says_over_which_classes_scores_are_where_some_have_no_images(
    searched_study: StudyStorage, tested: TrialPaths, runs: Path
) -> None:
    said = "over the 2 classes present of 3"
    assert said not in report(searched_study, runs).text
    with searched_study.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE protocols SET facts = json_set(facts, '$.n_validation_classes', 2)"
        )
    save_confusion_csv(tested.confusion_csv, CONFUSION * [[1], [1], [0]], CLASS_NAMES)
    page = report(searched_study, runs)
    assert f"macro-F1 unless named otherwise, on validation images {said}." in page.text
    assert f"Measured on 10 test images, macro-F1 {said}." in page.text
    tables = final_section(runs).text.split("Easiest classes")[1]
    assert "cat" in tables and "$dog_1$" not in tables
    summary = (runs / "pets" / "report.md").read_text(encoding="utf-8")
    assert f"macro-F1 unless named otherwise, on validation images {said}." in summary
    assert f"{said}, accuracy 65.43 %" in summary
    assert "nan" not in summary.lower().replace("provenance", "")


@pytest.mark.slow
def test_report_of_several_tests_shows_the_first_and_says_of_how_many(
    searched_study: StudyStorage, tested: TrialPaths, runs: Path
) -> None:
    assert "first of" not in report(searched_study, runs).text
    final = optuna.load_study(study_name="pets-final", storage=searched_study)
    final.add_trial(create_trial(value=0.8, user_attrs={"slot": 1, "best_epoch": 1}))
    again = final.get_trials()[1]._trial_id
    claim_tests(searched_study.database, [TestEvaluation(again, "pets", 0, "a mistake", "f" * 64)])
    finish_tests(searched_study.database, {again: {**METRICS, "macro_f1": 0.9, "accuracy": 0.91}})
    text = report(searched_study, runs).text
    assert "Final run, test0.6321accuracy 65.43 %; first of 2, trial 1\n" in text
    assert "This is the first of 2 tests." in text
    assert "Final run 2 of 2" in text and "0.9000" in text
    markdown = (runs / "pets" / "report.md").read_text(encoding="utf-8")
    assert "final run 1 of 2, test: **0.6321** ± 0.1" in markdown
    assert "accuracy 65.43 % ± 10.83 % (standard errors), trial 1 of the search" in markdown
    assert "final run 2 of 2, test: **0.9000**, accuracy 91.00 %" in markdown


def test_report_lists_the_final_runs_that_were_queued_together(
    searched_study: StudyStorage, runs: Path
) -> None:
    group = FinalGroup(0, seeds=2, with_control=True)
    final = optuna.create_study(
        study_name="pets-final", storage=searched_study, direction="maximize"
    )
    scores = (0.6, 0.9, 0.5, 0.5)
    for slot, (role, score) in enumerate(zip(group.roles, scores, strict=True)):
        noted = {"slot": slot, "best_epoch": 1, "searched_trial": 1 if role == "winner" else -1}
        noted |= group.attributes(role, seed=1000 + slot)
        final.add_trial(create_trial(value=score, user_attrs=noted))
    ids = [trial._trial_id for trial in final.get_trials()]
    claims = [TestEvaluation(one, "pets", 1, "the first", "f" * 64) for one in ids]
    claim_tests(searched_study.database, claims)
    tested = {one: {**METRICS, "macro_f1": n} for one, n in zip(ids, scores, strict=True)}
    finish_tests(searched_study.database, tested)
    gain = {"macro_f1": 0.25, "interval_90": [0.1, 0.4], "seeds_error": 0.05, "images_error": 0.06}
    arm = {"n_runs": 2, "macro_f1": 0.75, "accuracy": 0.7, "accuracy_standard_error": 0.1}
    arm |= {"macro_f1_deviation": 0.2, "accuracy_deviation": 0.1}
    together = {"runs": [{}, {}, {}, {}], "winner": arm, "control": arm, "gain": gain}
    metrics = {"group": {**together, "macro_f1_interval_95": [0.5, 0.7]}}
    files = RunPaths(runs, "pets").final(0)
    files.folder.mkdir(parents=True)
    files.metrics.write_text(json.dumps(metrics))

    page = report(searched_study, runs)
    section = " ".join(final_section(runs).text.split())
    assert "4 runs were queued together" in section and "that of final, the first" in section
    assert "final-2winner11001complete0.90000.900065.43 %" in section
    assert "final-4control–1003complete0.50000.500065.43 %" in section
    assert "The search gained +25.00 points of macro-F1 on the test set, 90 % interval" in section
    assert (
        "final-2" not in page.text.split("Best trials")[0].split("Verdict")[1].split("4 runs")[0]
    )
    assert "0.6000" in page.text.split("Verdict")[1].split("macro-F1 of the final run")[0]
    markdown = (runs / "pets" / "report.md").read_text(encoding="utf-8")
    assert "the 4 final runs together" in markdown and "winner, mean of 2 seeds" in markdown
    files.metrics.write_text("[]")
    with pytest.raises(DashboardError, match="must be a file that `study final` wrote"):
        report(searched_study, runs)


def test_report_of_tested_final_run_shows_its_surest_mistakes(
    searched_study: StudyStorage, tested: TrialPaths, runs: Path
) -> None:
    pixels = np.full((120, 120, 3), 9, dtype=np.uint8)
    mistakes = [PicturedMistake(7, CLASS_NAMES[1], '"><b>', 0.987, pixels)]
    save_mistakes(tested.mistakes, mistakes)
    page = report(searched_study, runs)
    shown = page.text.split("Surest mistakes")[1]
    assert "<script>alert(1)</script>" in shown and '"><b>' in shown and "98.70 %" in shown
    assert "pets/final/mistakes.json of the runs folder" in shown
    assert not any(text.startswith("alert") for text in page.own_scripts)
    section = final_section(runs)
    assert section.tags["img"] == 1 and section.tags["b"] == 1
    save_mistakes(tested.mistakes, [])
    assert "Every test image was recognised" in report(searched_study, runs).text


def test_report_with_damaged_mistakes_is_rejected(
    searched_study: StudyStorage, tested: TrialPaths, runs: Path
) -> None:
    tested.mistakes.write_text("{")
    with pytest.raises(DashboardError, match="remove it to leave them out"):
        report(searched_study, runs)


def test_report_of_many_classes_numbers_them_and_stays_small(
    searched_study: StudyStorage, tested: TrialPaths, runs: Path
) -> None:
    random = np.random.default_rng(0)
    confusion = random.poisson(0.2, (200, 200)) + 30 * np.eye(200, dtype=int)
    save_confusion_csv(tested.confusion_csv, confusion, [f"<b>{n}" for n in range(200)])
    page = report(searched_study, runs)
    assert "classes often confused side by side" in page.text
    assert "199<b>199" in page.text.split("All classes by number")[1].replace("\n", "")
    assert len(page.still_html) < 1_000_000


def test_report_without_the_images_says_so_in_a_line(
    searched_study: StudyStorage, runs: Path
) -> None:
    page = report(searched_study, runs)
    assert "Pictures and classes are left out" in page.text and page.tags["img"] == 0


def test_report_needs_nothing_from_elsewhere(searched_study: StudyStorage, runs: Path) -> None:
    page = report(searched_study, runs)
    assert [address for address in page.addresses if not address.startswith("data:")] == []
    assert page.tags["link"] == 0


def test_report_says_first_the_verdict_then_search_then_cost(
    searched_study: StudyStorage, tested: TrialPaths, runs: Path
) -> None:
    page = report(searched_study, runs)
    html = (runs / "pets" / "report.html").read_text(encoding="utf-8")
    sections = re.findall('<section id="([^"]+)"', html)
    assert sections == [
        "verdict",
        "final-1",
        "best-trials",
        "search",
        "cost",
        "data",
        "setup",
        "provenance",
    ]
    assert page.contents == [f"#{name}" for name in sections[1:]]


def test_report_never_shows_the_database_settings(empty_study: StudyStorage, runs: Path) -> None:
    assert "hunter2" in read_protocol(empty_study.database, "pets").configuration["storage"]["url"]
    assert "hunter2" not in report(empty_study, runs).text


def test_report_shows_the_diagnosis_at_the_head_of_the_search(
    empty_study: StudyStorage, tmp_path: Path
) -> None:
    diagnosed_searches.diverging().store(empty_study, "diverging")
    key = read_protocol(empty_study.database, "diverging").study_key
    RunPaths(tmp_path / "runs", "diverging").claim(key)
    path = tmp_path / "report.html"
    write_report(empty_study, "diverging", runs=tmp_path / "runs", path=path)
    page = Page(path.read_text(encoding="utf-8"))
    shown = Page(page.still_html.split("<h2>Search</h2>")[1].split("<div")[0])
    assert (shown.tags["li"], shown.tags["code"]) == (2, 2)
    assert "study fork NEW --set optimization.warmup_epochs=2." in shown.text
    markdown = path.with_suffix(".md").read_text(encoding="utf-8")
    listed = markdown.split("## Diagnosis\n\n")[1].split("\n\n")[0].splitlines()
    assert [line[:2] for line in listed] == ["- ", "- "]
    assert listed[1].endswith("`study fork NEW --set optimization.warmup_epochs=2`.")


def test_report_says_nothing_of_a_diagnosis_where_there_is_none(
    searched_study: StudyStorage, runs: Path
) -> None:
    assert "Diagnosis" not in report(searched_study, runs).text
    assert "Diagnosis" not in (runs / "pets" / "report.md").read_text(encoding="utf-8")


def test_report_of_unknown_study_is_rejected(empty_study: StudyStorage, runs: Path) -> None:
    with pytest.raises(StudyNotFoundError, match="got 'cats'"):
        write_report(empty_study, "cats", runs=runs, path=runs / "report.html")


def test_report_with_runs_of_another_study_is_rejected(
    empty_study: StudyStorage, tmp_path: Path
) -> None:
    RunPaths(tmp_path / "others", "pets").claim("another key")
    with pytest.raises(StorageError, match="holds another study of this name"):
        write_report(empty_study, "pets", runs=tmp_path / "others", path=tmp_path / "r.html")


def test_report_to_a_path_that_is_no_file_is_rejected(
    empty_study: StudyStorage, runs: Path
) -> None:
    with pytest.raises(DashboardError, match="choose another path"):
        write_report(empty_study, "pets", runs=runs, path=runs)
