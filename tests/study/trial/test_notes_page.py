"""Notes and files in optuna-dashboard's own page, in a real browser."""

import os
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import expect

from dashboards.optuna_dashboard.app import build_dashboard, serve_dashboard
from dashboards.optuna_dashboard.artifacts import RunFiles
from data.image_cache import prepare
from study.creation.create import initialise
from study.final.final_run import open_final, run_final
from study.session.session import StudySession
from study.session.winner import choose_winner
from study.stop_signal import StopFlag
from tests.browser import SCREENSHOTS, browser, requires_chromium, watched_page
from tests.study.trial.test_faults import fail_in_training
from tests.study.workers.test_worker import Settings, configured, work
from tests.tools.forked_server import forked

EVIL_CLASS = "<img src=x onerror=alert(1)>"
EVIL = "<script>alert(1)</script> ![picture](http://evil.org/x.png) www.evil.org | \\| `"
pytestmark = [pytest.mark.slow, requires_chromium]


def serve(session: StudySession) -> None:
    app = build_dashboard(session.storage_handle, RunFiles(session.config.storage.runs))
    serve_dashboard(app, host="127.0.0.1", port=0)


def searched(settings: Settings, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> StudySession:
    """A study of data with a nasty class name: a complete trial, a failed one, a final run."""
    (pictures / "dots").rename(pictures / EVIL_CLASS)
    session = initialise(
        configured(
            {**settings, "description": EVIL}, search={"budget": {"trials": 2}, "n_epochs": 5}
        )
    )
    with monkeypatch.context() as broken:
        fail_in_training(broken, n_spared=1)
        work(session)
    final = open_final(session, choose_winner(session), reopen=None)
    prepared = prepare(final.config.data)
    assert run_final(final, prepared, stop=StopFlag(), announce=lambda *_: None) is not None
    return session


def test_notes_and_files_are_shown_and_data_stay_text(
    tiny_settings: Settings, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = searched(tiny_settings, pictures, monkeypatch)
    shots = Path(os.environ.get(SCREENSHOTS, tmp_path))
    with (
        forked(partial(serve, session)) as printed,
        browser() as opened,
        watched_page(opened, height=1600) as watched,
    ):
        page, address = watched.page, printed.readline().split()[2].rstrip("/")
        page.goto(f"{address}/dashboard/studies/1/note")
        expect(page.get_by_text(EVIL_CLASS)).to_be_visible()
        expect(page.get_by_text("<script>alert(1)</script> ![picture]")).to_be_visible()
        expect(page.get_by_role("heading", name="Protocol")).to_be_visible()
        page.screenshot(path=shots / "note-of-the-study.png")
        assert page.locator("a[href*='evil']").count() == 0

        page.goto(f"{address}/dashboard/studies/1/trials?numbers=0")
        expect(page.get_by_text("in epoch")).to_be_visible()
        expect(page.get_by_text("epochs.csv")).to_be_visible()
        page.screenshot(path=shots / "note-of-a-trial.png")
        page.goto(f"{address}/dashboard/studies/1/trials?numbers=1")
        expect(page.get_by_text("KeyError").first).to_be_visible()

        page.goto(f"{address}/dashboard/studies/2/trials?numbers=0")
        expect(page.get_by_text("Test macro-F1")).to_be_visible()
        expect(page.get_by_text("confusion_matrix.png")).to_be_visible()
        picture = page.locator("img[src*='/artifacts/']").first
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
        expect(page.get_by_text("per_class.csv")).to_be_visible()
        page.screenshot(path=shots / "note-of-a-final-run.png")
        card = page.locator(".MuiCard-root", has_text="per_class.csv").last
        card.get_by_test_id("FullscreenIcon").click()
        expect(page.get_by_role("cell", name=EVIL_CLASS)).to_be_visible()
        page.screenshot(path=shots / "artifact-of-a-final-run.png")
        assert watched.problems == []
        assert watched.foreign_requests(address) == []
