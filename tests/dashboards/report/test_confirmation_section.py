"""What a report says of a confirmation: the page, the summary, figures and tables."""

import csv
import io
import re
from pathlib import Path

import pytest

from dashboards.report.confirmation_section import (
    list_settings,
    read_confirmation_section,
)
from dashboards.report.content import compose_report
from dashboards.report.publication import name_figures
from dashboards.report.report import write_report
from dashboards.report.result_tables import compose_tables
from dashboards.report.table_formats import render_csv
from storage.records import raise_budget, read_protocol
from storage.run_paths import RunPaths
from storage.study_storage import StudyStorage
from tests.dashboards.confirmations import BETTER, NOT_TOLD, add_confirmation, add_run

UNCONFIRMED = "The winner is not confirmed: one seed chose it"


@pytest.fixture
def runs(tmp_path: Path, searched_study: StudyStorage) -> Path:
    key = read_protocol(searched_study.database, "pets").study_key
    RunPaths(tmp_path / "runs", "pets").claim(key)
    return tmp_path / "runs"


def written(storage: StudyStorage, runs: Path) -> tuple[str, str]:
    """Return the page up to the figures of the search, and the summary."""
    path = runs / "report.html"
    write_report(storage, "pets", runs=runs, path=path)
    page = path.read_text(encoding="utf-8")
    summary = path.with_suffix(".md").read_text(encoding="utf-8")
    return page[page.index("<main>") : page.index('<section id="search">')], summary


def test_report_without_a_confirmation_says_so_with_the_command(
    searched_study: StudyStorage, runs: Path
) -> None:
    page, summary = written(searched_study, runs)
    assert UNCONFIRMED in page and "<code>study confirm --name pets</code>" in page
    assert 'id="confirmation"' not in page and "fresh seeds</th>" not in page
    assert "- confirmed: not yet, `study confirm --name pets` tests the winner" in summary


def test_report_begins_with_the_verdict_and_shows_every_seed(
    searched_study: StudyStorage, runs: Path
) -> None:
    add_confirmation(searched_study, BETTER)
    page, summary = written(searched_study, runs)
    assert re.findall('<section id="([^"]+)"', page)[:3] == [
        "verdict",
        "confirmation",
        "best-trials",
    ]
    first = page.split("<h2>Verdict</h2>")[1].strip()
    assert first.startswith('<p class="verdict"><b>Trial 1 is better than the default.</b></p>')
    assert "The setting to take is that of trial 1" in first and UNCONFIRMED not in page
    assert "<b>0.5500</b>" in first and "3 fresh seeds; default 0.4033 ± 0.0153" in first
    section = page.split('<section id="confirmation">')[1].split("</section>")[0]
    assert "Mean macro-F1 on 200 confirmation images: 0.5500 ± 0.0100 (3 seeds)" in section
    assert "Least detectable" in section and "p &lt; 0.001" in section
    assert section.count("<svg") == 1 and "trial 1, recommended" in section
    assert "0.5600 ± 0.0141" in page.split('<section id="best-trials">')[1]
    assert "- verdict: **trial 1 is better than the default**" in summary
    assert "- confirmed: **0.5500** (mean of 3 fresh seeds, trial 1)" in summary
    assert "| **trial 1**, recommended | 0.6100 | 0.5600 ± 0.0141 | 0.5500 ± 0.0100 |" in summary
    assert "study confirm --name pets\nstudy final --name pets" in summary


def test_report_of_a_default_that_is_kept_recommends_it(
    searched_study: StudyStorage, runs: Path
) -> None:
    add_confirmation(searched_study, NOT_TOLD)
    page, summary = written(searched_study, runs)
    assert "Trial 1 is not told from the default: keep the default." in page
    assert "The setting to take is that of trial 0" in page
    assert "| **default (trial 0)**, recommended | 0.4000 |" in summary


def test_report_before_the_end_says_how_far_the_confirmation_is(
    searched_study: StudyStorage, runs: Path
) -> None:
    add_confirmation(searched_study, n_done=3)
    page, summary = written(searched_study, runs)
    assert "Not confirmed: 3 of 4 runs of the first stage are done." in page
    assert "3 of 4 runs are done" in page and UNCONFIRMED not in page
    assert "- verdict: **not confirmed: 3 of 4" in summary and "- confirmed" not in summary


def test_report_on_the_images_of_the_search_says_so(
    searched_study: StudyStorage, runs: Path
) -> None:
    add_confirmation(searched_study, BETTER, own_images=False)
    page, summary = written(searched_study, runs)
    assert "Caution: these images chose the winner too" in page
    assert "as the data spare no others" in page and ">judged</th>" in page
    assert "| setting | search | fresh seeds | judged |" in summary


def test_figures_and_tables_for_papers_have_the_confirmation(
    searched_study: StudyStorage, runs: Path
) -> None:
    add_confirmation(searched_study, BETTER)
    content = compose_report(searched_study, "pets", runs=runs)
    assert next(iter(name_figures(content))) == "every-seed"
    tables = {table.name: table for table in compose_tables(content)}
    winner, default = csv.DictReader(io.StringIO(render_csv(tables["confirmation"])))
    assert (winner["setting"], winner["role"], winner["is_recommended"]) == (
        "trial 1",
        "winner",
        "yes",
    )
    assert (winner["selection_seeds"], winner["judged_seeds"]) == ("2", "3")
    assert float(winner["judged_macro_f1_mean"]) == pytest.approx(0.55)
    assert (default["setting"], default["role"]) == ("default (trial 0)", "control")
    (verdict,) = csv.DictReader(io.StringIO(render_csv(tables["confirmation-verdict"])))
    assert float(verdict["difference"]) == pytest.approx(0.55 - 1.21 / 3)
    assert float(verdict["shrinkage"]) == pytest.approx(0.06)
    assert float(verdict["low"]) < float(verdict["difference"]) < float(verdict["high"])
    assert verdict["images"] == "200"


def test_tables_of_a_confirmation_that_is_not_over_have_no_verdict(
    searched_study: StudyStorage, runs: Path
) -> None:
    add_confirmation(searched_study, n_done=3)
    content = compose_report(searched_study, "pets", runs=runs)
    names = {table.name for table in compose_tables(content)}
    assert "confirmation" in names and "confirmation-verdict" not in names


def test_default_that_is_no_candidate_and_no_trial_has_a_row_of_its_own(
    searched_study: StudyStorage,
) -> None:
    add_confirmation(searched_study, n_done=4)
    for slot, score in ((4, 0.2), (5, 0.3)):
        add_run(searched_study, slot, "control", None, score, state="complete")
    raise_budget(searched_study.database, "pets-confirm", 6)
    section = read_confirmation_section(searched_study, "pets")
    assert section is not None
    labels = [one.label for one in list_settings(section.found)]
    assert labels == ["trial 1", "default", "trial 0"]
    assert [one.role for one in section.settings] == ["winner", "control", "candidate"]
    assert section.settings[1].judged == [0.2, 0.3] and section.settings[1].selection == ()
    assert section.found.awaits_verdict
    assert not any(one.is_recommended for one in section.settings)
