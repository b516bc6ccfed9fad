from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser import browser
from tests.tools.processes import ProcessServer


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessServer]:
    with ProcessServer() as server:
        yield server


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened
