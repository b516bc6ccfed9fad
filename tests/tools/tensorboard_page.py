"""What TensorBoard shows in a browser."""

import json
import urllib.request
from collections import defaultdict

from tests.browser import WatchedPage
from tests.tools.processes import wait_until

# TensorBoard warns of its own parts.
OWN_WARNINGS = (
    "warning: WARNING: Multiple instances of Three.js being imported.",
    "warning: paper-header-panel is deprecated. Please use app-layout instead!",
    "warning: paper-toolbar is deprecated. Please use app-layout instead!",
)
CELLS = "tf-hparams-table-view vaadin-grid-cell-content"
PLACED_TEXTS = """cells => cells.map(cell => {
    const box = cell.getBoundingClientRect();
    const middle = Math.round(box.top + box.height / 2);
    return [middle, Math.round(box.left), box.width ? cell.innerText.trim() : ''];
})"""


def wait_for_runs(address: str, n_runs: int) -> None:
    """Wait until the server, which reads while it serves already, has read so many ended runs."""

    def are_read() -> bool:
        with urllib.request.urlopen(f"{address}data/plugin/scalars/tags", timeout=30) as answer:
            tags = json.load(answer).values()
        return sum("hparam/best/macro_f1" in of_run for of_run in tags) >= n_runs

    wait_until(are_read, f"{n_runs} runs", every=0.2)


def hparams_table(watched: WatchedPage, address: str) -> dict[str, dict[str, str]]:
    """Open the tab HPARAMS and return the rows that are in view, by name."""
    watched.page.goto(f"{address}#hparams")
    watched.page.locator(CELLS).filter(has_text="(").first.wait_for()
    lines: dict[int, dict[int, str]] = defaultdict(dict)
    for middle, left, text in watched.page.locator(CELLS).evaluate_all(PLACED_TEXTS):
        if text:
            lines[middle][left] = text
    header, *rows = (line for _, line in sorted(lines.items()))
    named = ({heading: row.get(left, "") for left, heading in header.items()} for row in rows)
    return {row["Trial ID"]: row for row in named}


def time_series(watched: WatchedPage, address: str) -> tuple[list[str], list[str]]:
    """Open the tab TIME SERIES and return its runs and the groups of its curves."""
    watched.page.goto(f"{address}#timeseries")
    watched.page.locator("scalar-card line-chart").first.wait_for()
    watched.page.get_by_text("macro_f1", exact=True).first.wait_for()
    runs = watched.page.locator("runs-data-table tb-data-table-content-row").all_inner_texts()
    groups = watched.page.locator(".tag-group-name, .group-title").all_inner_texts()
    return [run.strip() for run in runs], [group.strip() for group in groups]


def assert_quiet(watched: WatchedPage, address: str) -> None:
    """Check that nothing went wrong and nobody else was asked for anything."""
    assert [told for told in watched.problems if told not in OWN_WARNINGS] == []
    assert watched.foreign_requests(address) == []
