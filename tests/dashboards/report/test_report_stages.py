"""The report of a study before, during and after its trials, as a page and as a summary."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from optuna.trial import TrialState

from dashboards.report.content import compose_report
from dashboards.report.report import write_report
from dashboards.report.summary import render_summary
from storage.leases import acquire
from storage.optuna_rows import PAUSED
from storage.process_identity import Owner
from storage.records import read_protocol
from storage.run_paths import RunPaths
from storage.study_storage import StudyStorage, create_study_storage
from tests.dashboards.report.test_report import Page
from tests.tools.searches import add_trial, create_search

COMPLETE = TrialState.COMPLETE
N_EPOCHS = 4
HOSTILE = "<script>alert(1)</script>"
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")

AddTrials = Callable[..., None]


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[StudyStorage]:
    opened = create_study_storage(f"sqlite:///{tmp_path / 'study.db'}", outage_seconds=5)
    names = ("cat", HOSTILE, "a|b`c`[d](http://e)")
    create_search(opened, "pets", n_trials=12, n_epochs=N_EPOCHS, class_names=names)
    RunPaths(tmp_path / "runs", "pets").claim(read_protocol(opened.database, "pets").study_key)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def add(handle: StudyStorage) -> AddTrials:
    def add_trials(n_trials: int, state: TrialState, n_epochs: int, reason: str = "") -> None:
        first = len(handle.get_all_trials(handle.get_study_id_from_name("pets")))
        kind = "pruned" if state is TrialState.PRUNED else "exception"
        noted = {"reason": {"kind": kind, "message": reason}} if reason else {}
        for slot in range(first, first + n_trials):
            add_trial(handle, "pets", slot=slot, state=state, n_epochs=n_epochs, attributes=noted)

    return add_trials


@pytest.fixture
def written(handle: StudyStorage, tmp_path: Path) -> Callable[[], tuple[Page, Page]]:
    """Write the report; return the page, and the summary as a reader of Markdown sees it."""

    def write() -> tuple[Page, Page]:
        path = tmp_path / "runs" / "pets" / "report.html"
        write_report(handle, "pets", runs=tmp_path / "runs", path=path)
        text = path.with_suffix(".md").read_text(encoding="utf-8")
        html = path.read_text(encoding="utf-8")
        page, shown = Page(html), Page(MARKDOWN.render(text))
        assert not re.search(r"@import|url\((?!['\"]?(#|data:))", page.still_html)
        assert [one for one in page.addresses if not one.startswith("data:")] == []
        assert shown.addresses == []
        assert shown.tags["script"] == 0
        assert not any(script.startswith("alert") for script in page.own_scripts)
        return page, shown

    return write


Written = Callable[[], tuple[Page, Page]]


def test_before_the_first_trial_there_is_protocol_and_no_figure(written: Written) -> None:
    page, summary = written()
    assert "No epoch is trained yet." in page.text and "12 trials of 4" in page.text
    assert "No trial has sampled a hyperparameter" in page.text and page.tags["svg"] == 0
    assert "no trial complete yet" in summary.text and "test images not used yet" in summary.text
    assert summary.tags["table"] == 0 and "study run --config study.yaml" in summary.text


def test_first_running_trial_has_its_curve_but_no_slices(
    add: AddTrials, handle: StudyStorage, written: Written
) -> None:
    add(1, TrialState.RUNNING, 2)
    acquire(handle.database, 1, Owner.current())
    page, summary = written()
    assert page.tags["svg"] == 3  # who trained when, history, curves
    assert "at least 10 complete trials are needed, there are 0" in page.text
    assert "at least 3 complete, pruned or paused trials with a score are needed" in page.text
    assert "1 worker has claimed trials" in page.text
    assert "No trial is complete: these are the best scores so far." in page.text
    assert "1 running" in summary.text and "no trial complete yet" in summary.text


def test_trials_that_all_failed_before_an_epoch_show_their_reasons(
    add: AddTrials, written: Written
) -> None:
    add(3, TrialState.FAIL, 0, reason=f"no | memory {HOSTILE} `x` [y](http://z)")
    page, summary = written()
    assert "No epoch is trained yet." in page.text
    assert f"exception: no | memory {HOSTILE} `x` [y](http://z)" in page.text
    assert "3 failed" in page.text and "3 failed" in summary.text


def test_pruned_trials_alone_are_drawn_without_importances(
    add: AddTrials, written: Written
) -> None:
    add(5, TrialState.PRUNED, 2, reason="below the median")
    page, _ = written()
    assert "No importances of hyperparameters: at least 10" in page.text
    assert "Score by learning rate" in page.text and "Parallel coordinates" in page.text
    assert "pruning has saved 10 (about 2 min)" in page.text


def test_paused_trials_are_counted_drawn_and_listed(
    add: AddTrials, handle: StudyStorage, written: Written
) -> None:
    add(1, TrialState.COMPLETE, N_EPOCHS)
    for slot in (1, 2, 3):
        paused = {PAUSED: 2}
        add_trial(
            handle, "pets", slot=slot, state=TrialState.WAITING, n_epochs=2, attributes=paused
        )
    page, summary = written()
    assert "3 paused" in page.text and "0 waiting" in page.text
    assert "3 paused" in summary.text and "1 of 12" in summary.text
    assert "Parallel coordinates" in page.text
    live = [text for text in page.scripts if re.search(r'"name": ?"paused"', text)]
    assert len(live) >= 2  # history and curves
    assert page.still_html.count('style="--dot: var(--paused)">paused') == 4  # cost, and each


def test_budget_in_epochs_is_shown_as_such(
    handle: StudyStorage, add: AddTrials, written: Written
) -> None:
    add(2, TrialState.COMPLETE, N_EPOCHS)
    with handle.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE protocols SET facts = json_set(facts, '$.budget', json(?))",
            ('{"unit": "epochs", "amount": 40}',),
        )
    page, summary = written()
    assert "8 of 40 epochs are spent (20 %)" in page.text
    assert "40 epochs, trials of at most 4 epochs" in page.text
    assert "8 of 40 epochs spent" in summary.text and "2 over" in summary.text
    assert 'style="width: 20.00%; background: var(--complete)"' in page.still_html


def test_complete_search_shows_importances_and_all_figures(
    add: AddTrials, handle: StudyStorage, tmp_path: Path, written: Written
) -> None:
    add(12, TrialState.COMPLETE, N_EPOCHS)
    page, summary = written()
    # History, curves, importances, parallel coordinates, 6 slices, 3 pairs.
    assert page.tags["svg"] == 13
    content = compose_report(handle, "pets", runs=tmp_path / "runs")
    assert next(iter(content.importances.shares)) == "learning_rate"
    assert sum(content.importances.shares.values()) == pytest.approx(1)
    assert content.importances.n_best == 5
    assert content.search.slices[0].title == "Score by learning rate"
    assert "sets the best 5 apart from all 12 complete trials" in page.text
    assert "with 10,000 validation images" in page.text
    assert "logarithmic" in page.text and "0.001 to 1" in page.text
    for one in (page, summary):
        assert "0123abc with changes" in one.text and "study 7, splits 5" in one.text
    assert summary.tags["tr"] == 13 and "learning rate" in summary.text


def test_hostile_class_names_are_text_in_the_page(written: Written) -> None:
    page, _ = written()
    assert HOSTILE in page.text and "a|b`c`[d](http://e)" in page.text


def test_text_of_a_trial_is_no_markup_in_the_summary(
    add: AddTrials, handle: StudyStorage, tmp_path: Path
) -> None:
    add(1, COMPLETE, 1)
    content = compose_report(handle, "pets", runs=tmp_path / "runs")
    evil = f"a|b`c`[d](http://e) ![f](g) {HOSTILE} \\ www.h.org"
    rows = [replace(content.rows[0], params={"activation": evil})]
    provenance = replace(content.provenance, facts=[("hosts", evil)])
    text = render_summary(replace(content, rows=rows, provenance=provenance), page="report.html")
    summary = Page(MARKDOWN.render(text))
    assert summary.tags["tr"] == 2 and summary.tags["td"] == 7
    assert summary.tags["a"] == summary.tags["img"] == summary.tags["script"] == 0
    assert f"activation {evil}" in summary.text and f"hosts: {evil}" in summary.text


def test_given_points_have_no_importances_and_say_why(
    add: AddTrials, handle: StudyStorage, tmp_path: Path
) -> None:
    with handle.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE protocols SET configuration = "
            "json_set(configuration, '$.search.space', 'given')"
        )
    add(12, TrialState.COMPLETE, N_EPOCHS)
    importances = compose_report(handle, "pets", runs=tmp_path / "runs").importances
    assert importances.shares == {} and "the points were given" in importances.why_none


def test_compared_points_are_drawn_once_and_their_labels_are_text(
    handle: StudyStorage, written: Written
) -> None:
    with handle.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE protocols SET configuration = "
            "json_set(configuration, '$.search.space', 'given')"
        )
    label = f"{HOSTILE} | `x`"
    for slot, name in enumerate(("plain", label, label)):
        attributes = {"label": name}
        add_trial(
            handle, "pets", slot=slot, state=COMPLETE, n_epochs=N_EPOCHS, attributes=attributes
        )
    page, _ = written()
    assert page.tags["svg"] == 3  # history, curves, comparison
    assert label in page.text and "the figures of the given points show more" in page.text
