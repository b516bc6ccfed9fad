"""Take the README's pictures of a finished study: its report, its dashboard and its HPARAMS.

python -m benchmarks.take_pictures --storage sqlite:///runs/study.db --runs runs --name NAME
"""

import argparse
import io
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from storage.addresses import parse_url, sqlite_path
from storage.run_paths import RunPaths
from tests.browser import browser, watched_page
from tests.tools.processes import ProcessServer
from tests.tools.served_pages import served
from tests.tools.tensorboard_page import hparams_table

PICTURES = Path(__file__).parents[1] / "dashboards" / "pictures"
WIDTH = 1000
N_COLOURS = 96


def take(place: Sequence[str], runs: Path, name: str) -> None:
    """Take all pictures.

    Args:
        place: Options that name database, runs and study.
        runs: The folder of all runs.
        name: Of the study.
    """
    with (
        tempfile.TemporaryDirectory() as temporary,
        ProcessServer() as processes,
        browser() as opened,
    ):
        folder = Path(temporary)
        processes.run("report", *place, folder=folder)
        take_report(opened, RunPaths(runs, name).report)
        with served(processes, "dashboard", *place, folder=folder) as address:
            take_dashboard(opened, address, name)
        with (
            served(processes, "tensorboard", *place, folder=folder) as address,
            watched_page(opened, width=1600, height=620) as watched,
        ):
            hparams_table(watched, address)
            keep(watched.page, "hparams")


def take_report(opened: Browser, report: Path) -> None:
    """Take the beginning of a report."""
    with watched_page(opened, height=1500) as watched:
        watched.page.goto(report.as_uri())
        keep(watched.page, "report")


def take_dashboard(opened: Browser, address: str, name: str) -> None:
    """Take the page of a study in optuna-dashboard."""
    with watched_page(opened, height=1000) as watched:
        page = watched.page
        page.goto(address)
        page.get_by_text(re.compile(rf"^\d+\. {re.escape(name)}$")).click()
        page.locator(".js-plotly-plot .scatterlayer").first.wait_for()
        page.get_by_text("dropout").first.wait_for()  # the importances come last
        keep(page, "dashboard")


def absolute(address: str) -> str:
    """Return a database's address for commands that start in another folder."""
    url = parse_url(address)
    if url.drivername != "sqlite":
        return address
    return f"sqlite:///{sqlite_path(url).absolute()}"


def keep(page: Page, name: str) -> None:
    """Save what is in view, small enough to lie in a repository."""
    with Image.open(io.BytesIO(page.screenshot())) as image:
        size = (WIDTH, round(image.height * WIDTH / image.width))
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    PICTURES.mkdir(exist_ok=True)
    small.quantize(N_COLOURS).save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--storage", required=True, help="Database of the study.")
    parser.add_argument("--runs", required=True, type=Path, help="Folder of all runs.")
    parser.add_argument("--name", required=True, help="Name of the study.")
    asked = parser.parse_args()
    runs = asked.runs.resolve()
    place = ["--storage", absolute(asked.storage), "--runs", str(runs), "--name", asked.name]
    take(place, runs, asked.name)
