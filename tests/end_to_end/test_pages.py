"""Every page of a study on real images, in a real browser: dashboard, TensorBoard and report."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import SCREENSHOTS, Colours, WatchedPage, requires_chromium, watched_page
from tests.tools.processes import ProcessServer
from tests.tools.served_pages import served
from tests.tools.tensorboard_page import assert_quiet, hparams_table, time_series, wait_for_runs

TINY_IMAGENET = Path(__file__).parents[3] / "shared" / "tiny-imagenet"
SIZE = {
    "name": "pictures",
    "data.n_classes": "4",
    "data.train_limit": "240",
    "data.validation_limit": "80",
    "data.test_limit": "80",
    "data.image_size": "32",
    "network.widths": "[4, 8, 16]",
    "optimization.batch_size": "32",
    "search.budget.trials": "4",
    "search.n_epochs": "2",
    "search.n_startup_trials": "2",
    "search.pruner_startup_trials": "1",
    "search.pruner_warmup_epochs": "1",
    "search.space.network.blocks.high": "2",
    "final.n_epochs": "2",
    "final.image_size": "32",
    "workers.threads": "2",
}

pytestmark = [
    pytest.mark.slow,
    requires_chromium,
    pytest.mark.skipif(
        not TINY_IMAGENET.is_dir(), reason="needs Tiny ImageNet at ../shared/tiny-imagenet"
    ),
]


@dataclass(frozen=True)
class Study:
    """A finished study with its final run and its report.

    Attributes:
        folder: Of everything.
        place: Options that name its database and its runs.
    """

    folder: Path
    place: tuple[str, ...]

    @property
    def report(self) -> Path:
        """Where the report lies."""
        return self.folder / "runs" / SIZE["name"] / "report.html"


@pytest.fixture(scope="module")
def study(processes: ProcessServer, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    place = ("--storage", f"sqlite:///{folder}/study.db", "--runs", f"{folder}/runs")
    data = ("--data", str(TINY_IMAGENET))
    settings = [part for key, value in SIZE.items() for part in ("--set", f"{key}={value}")]
    processes.run("init", "--preset", "tiny-imagenet-10", *data, *settings, *place, folder=folder)
    for command in ("worker", "baselines", "final", "report"):
        processes.run(command, *place, folder=folder)
    return Study(folder, place)


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots go."""
    folder = Path(os.environ.get(SCREENSHOTS, tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_dashboard_shows_the_study_its_trials_notes_and_files(
    study: Study, processes: ProcessServer, chromium: Browser, shots: Path
) -> None:
    with (
        served(processes, "dashboard", *study.place, folder=study.folder) as address,
        watched_page(chromium) as watched,
    ):
        page = watched.page
        page.goto(address)
        page.get_by_role("link", name="pictures", exact=False).first.wait_for()
        page.screenshot(path=shots / "dashboard-studies.png")
        page.goto(f"{address}dashboard/studies/1")
        page.locator(".js-plotly-plot").first.wait_for()
        page.wait_for_load_state("networkidle")  # whoever leaves earlier cuts a request off
        page.screenshot(path=shots / "dashboard-study.png")
        page.goto(f"{address}dashboard/studies/1/trials?numbers=0")
        expect(page.get_by_text("learning_rate").first).to_be_visible()
        expect(page.get_by_text("Best validation macro-F1")).to_be_visible()
        expect(page.get_by_text("epochs.csv")).to_be_visible()
        page.screenshot(path=shots / "dashboard-trials.png")
        page.goto(f"{address}dashboard/studies/2/trials?numbers=0")
        expect(page.get_by_text("Test macro-F1")).to_be_visible()
        card = page.locator(".MuiCard-root", has_text="per_class.csv").last
        card.get_by_test_id("FullscreenIcon").click()
        expect(page.get_by_role("cell", name=re.compile("^n0")).first).to_be_visible()
        page.screenshot(path=shots / "dashboard-artifact.png")
        assert watched.problems == []
        assert watched.foreign_requests(address) == []


def test_tensorboard_shows_curves_and_a_row_for_each_run(
    study: Study, processes: ProcessServer, chromium: Browser, shots: Path
) -> None:
    with (
        served(processes, "tensorboard", *study.place, folder=study.folder) as address,
        watched_page(chromium, width=1600) as watched,
    ):
        wait_for_runs(address, 5)
        runs, _groups = time_series(watched, address)
        assert [run.partition(" blocks=")[0] for run in runs] == [
            "final 000",
            *(f"{number:03}" for number in range(4)),
        ]
        assert all(" lr=" in run for run in runs)
        watched.page.screenshot(path=shots / "tensorboard-curves.png")
        rows = hparams_table(watched, address)
        assert list(rows) == [*(f"{i:03} (pictures)" for i in range(4)), "final 000 (pictures)"]
        watched.page.screenshot(path=shots / "tensorboard-hparams.png")
        assert_quiet(watched, address)


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_report_asks_for_nothing_fits_the_window_and_has_all_it_shows(
    study: Study, chromium: Browser, shots: Path, colours: Colours, width: int
) -> None:
    with watched_page(chromium, width=width, colours=colours) as watched:
        watched.page.goto(study.report.as_uri())
        watched.page.screenshot(path=shots / f"report-{colours}-{width}.png", full_page=True)
        assert watched.problems == []
        assert watched.foreign_requests(study.report.as_uri()) == []
        assert watched.overflow() == 0
        assert empty_pictures(watched) == []
        assert broken_links(watched, study.report.parent) == []


def empty_pictures(watched: WatchedPage) -> list[str]:
    """Return the pictures that the page could not draw."""
    empty: list[str] = watched.page.evaluate(
        """() => [...document.images]
            .filter(image => !(image.complete && image.naturalWidth > 0))
            .map(image => image.outerHTML.slice(0, 200))"""
    )
    return empty


def broken_links(watched: WatchedPage, folder: Path) -> list[str]:
    """Return the links that lead nowhere: to no part of the page and to no file beside it."""
    links: list[str] = watched.page.evaluate(
        "() => [...document.querySelectorAll('a[href]')].map(link => link.getAttribute('href'))"
    )
    parts: list[str] = watched.page.evaluate(
        "() => [...document.querySelectorAll('[id]')].map(part => '#' + part.id)"
    )
    return [link for link in links if link not in parts and not (folder / link).is_file()]
