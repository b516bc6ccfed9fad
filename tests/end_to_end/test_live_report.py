"""The report in a browser: figures that zoom and name their trials, and what is left without."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState
from playwright.sync_api import Browser

from dashboards.report.report import write_report
from dashboards.report.side_by_side import write_side_by_side
from dashboards.studies.side_by_side import compare_studies
from storage.records import read_protocol
from storage.run_paths import RunPaths
from storage.study_storage import create_study_storage
from tests.browser import WatchedPage, requires_chromium, watched_page
from tests.tools.searches import add_trial, create_search

pytestmark = [pytest.mark.slow, requires_chromium]
N_TRIALS = 12


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("live")
    opened = create_study_storage(f"sqlite:///{folder}/study.db", outage_seconds=5)
    create_search(opened, "pets", n_trials=N_TRIALS, n_epochs=4)
    RunPaths(folder / "runs", "pets").claim(read_protocol(opened.database, "pets").study_key)
    for slot in range(N_TRIALS):
        add_trial(opened, "pets", slot=slot, state=TrialState.COMPLETE, n_epochs=4)
    path = folder / "report.html"
    write_report(opened, "pets", runs=folder / "runs", path=path)
    yield path
    opened.engine.dispose()


def draw_all(watched: WatchedPage, path: Path) -> None:
    watched.page.context.set_offline(True)
    watched.page.goto(path.as_uri())
    for figure in watched.page.locator("figure.live").all():
        figure.scroll_into_view_if_needed()
    watched.page.wait_for_function("!document.querySelector('figure.live:not(.drawn)')")


@pytest.mark.parametrize("width", [1280, 390])
def test_every_live_figure_is_drawn_offline_without_a_word(
    report: Path, chromium: Browser, width: int
) -> None:
    with watched_page(chromium, width=width) as watched:
        draw_all(watched, report)
        assert watched.page.locator("figure.drawn").count() == 9  # and 3 pairs that stay still
        assert watched.problems == [] and watched.foreign_requests(report.as_uri()) == []
        assert watched.overflow() == 0
        assert report.stat().st_size < 15_000_000


def test_a_curve_names_its_trial_under_the_mouse(report: Path, chromium: Browser) -> None:
    with watched_page(chromium) as watched:
        draw_all(watched, report)
        figure = watched.page.locator("figure.live", has_text="Learning curves")
        figure.scroll_into_view_if_needed()
        figure.evaluate(
            """figure => {
                const plot = figure.querySelector('.plot');
                const best = plot.data.findIndex(trace => /the best/.test(trace.name));
                Plotly.Fx.hover(plot, [{ curveNumber: best, pointNumber: 3 }]);
            }"""
        )
        said = figure.locator(".hoverlayer").text_content() or ""
        assert said.startswith("trial ") and "learning rate" in said and "epoch 4" in said


def test_without_scripts_and_in_print_the_still_figures_are_there(
    report: Path, chromium: Browser, tmp_path: Path
) -> None:
    policy = '<meta http-equiv="Content-Security-Policy" content="script-src \'none\'">'
    blocked = tmp_path / "blocked.html"
    blocked.write_text(report.read_text().replace('<meta charset="utf-8">', policy, 1))
    with watched_page(chromium) as watched:
        watched.page.goto(blocked.as_uri())
        assert watched.page.locator("figure.drawn").count() == 0
        assert all(one.is_visible() for one in watched.page.locator(".still > svg").all())
    with watched_page(chromium) as watched:
        draw_all(watched, report)
        assert not watched.page.locator("figure.drawn .still").first.is_visible()
        watched.page.emulate_media(media="print")
        assert watched.page.locator("figure.drawn .still").first.is_visible()
        assert not watched.page.locator("figure.drawn .plot").first.is_visible()


def test_page_of_several_studies_fits_a_phone(tmp_path: Path, chromium: Browser) -> None:
    opened = create_study_storage(f"sqlite:///{tmp_path}/study.db", outage_seconds=5)
    for name in ("cats", "dogs"):
        create_search(opened, name, n_trials=2, n_epochs=2)
        add_trial(opened, name, slot=0, state=TrialState.COMPLETE, n_epochs=2)
    path = tmp_path / "side.html"
    write_side_by_side(compare_studies(opened, {"cats": {}, "dogs": {}}), path)
    opened.engine.dispose()
    with watched_page(chromium, width=390) as watched:
        watched.page.goto(path.as_uri())
        assert watched.page.locator("svg").count() == 1
        assert watched.problems == [] and watched.overflow() == 0
