"""Notes and files in optuna-dashboard's own page, in a real browser."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import waitress
from playwright.sync_api import Page, expect, sync_playwright

from dashboards.optuna_dashboard.app import build_dashboard
from dashboards.optuna_dashboard.artifacts import RunFiles
from data.image_cache import prepare
from study.creation.create import initialise
from study.final.final_run import open_final, run_final
from study.session.promotion import choose_winner
from study.session.session import StudySession
from study.stop_signal import StopFlag
from tests.study.trial.test_faults import fail_in_training
from tests.study.workers.test_worker import Settings, configured, work

CHROMIUM = shutil.which("chromium")
EVIL_CLASS = "<img src=x onerror=alert(1)>"
EVIL = "<script>alert(1)</script> ![picture](http://evil.org/x.png) www.evil.org | \\| `"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium"),
]


@contextmanager
def served(session: StudySession) -> Iterator[str]:
    app = build_dashboard(session.storage_handle, RunFiles(session.config.storage.runs))
    server = waitress.create_server(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.close()
        thread.join()


@contextmanager
def opened_page(problems: list[str]) -> Iterator[Page]:
    """A page that writes down whatever goes wrong on it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
        page.on(
            "console", lambda said: problems.append(said.text) if said.type == "error" else None
        )
        yield page
        browser.close()


def searched(settings: Settings, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> StudySession:
    """A study of data with a nasty class name: a complete trial, a failed one, a final run."""
    (pictures / "dots").rename(pictures / EVIL_CLASS)
    session = initialise(
        configured({**settings, "description": EVIL}, search={"n_trials": 2, "n_epochs": 5})
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
    shots = Path(os.environ.get("STUDY_SCREENSHOTS", tmp_path))
    problems: list[str] = []
    with served(session) as address, opened_page(problems) as page:
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
    assert problems == []
