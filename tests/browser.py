"""A real browser, Debian's Chromium, whose pages keep note of whatever goes wrong on them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

CHROMIUM = shutil.which("chromium")
requires_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Debian's package chromium (apt-get install chromium)"
)
Colours = Literal["light", "dark"]
SCREENSHOTS = "STUDY_SCREENSHOTS"
"""Environment variable: a folder that keeps the screenshots."""


@dataclass
class WatchedPage:
    """A page and what it did.

    Attributes:
        page: Playwright's page.
        problems: Console errors and warnings, uncaught errors, requests that failed or were
            answered with an error, in their order.
        requests: The address of every request.
    """

    page: Page
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", self._note_failure)
        self.page.on("response", self._note_answer)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _note_failure(self, request: Request) -> None:
        self.problems.append(f"failed: {request.url} ({request.failure})")

    def _note_answer(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status}: {response.url}")

    def foreign_requests(self, *own: str) -> list[str]:
        """Return the requests that begin otherwise than given, save those of inline data."""
        known = (*own, "data:", "blob:")
        return [address for address in self.requests if not address.startswith(known)]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        width = self.page.evaluate(
            "document.scrollingElement.scrollWidth - document.documentElement.clientWidth"
        )
        return int(width)


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a browser without a window, which ends with the context."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def watched_page(
    opened: Browser,
    *,
    width: int = 1280,
    height: int = 900,
    colours: Colours = "light",
) -> Iterator[WatchedPage]:
    """Yield an empty page with nothing remembered from other pages."""
    context = opened.new_context(viewport={"width": width, "height": height}, color_scheme=colours)
    try:
        yield WatchedPage(context.new_page())
    finally:
        context.close()
