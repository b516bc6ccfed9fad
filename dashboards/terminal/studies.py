"""Studies in a terminal of 80 columns: a row each, or side by side. Must not import torch."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dashboards.formatting import shown_bytes
from dashboards.studies.side_by_side import MEASURES, SideBySide
from dashboards.studies.summary import StudySummary
from dashboards.terminal.status import clean_line

STATES = {
    "running": "cyan",
    "confirming": "cyan",
    "final run": "cyan",
    "stopped": "yellow",
    "not begun": "dim",
    "done": "green",
    "tested": "green",
    "deleted": "red",
}
"""Style of each state."""


def studies_table(summaries: Sequence[StudySummary]) -> Table:
    """Return studies as a table for a terminal of 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    # Names differ at their ends, as those of sweeps do, so they wrap rather than be cut.
    table.add_column("study", overflow="fold")
    table.add_column("state", no_wrap=True)
    # Few databases have one, and the columns are many already.
    has_confirmed = any(one.confirmed_score is not None for one in summaries)
    confirmed = ("con-\nfirmed",) if has_confirmed else ()
    for heading in ("trials", "macro-F1", "best", *confirmed, "test", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in summaries:
        table.add_row(
            Text(clean_line(one.study_name)),
            Text(one.state, STATES[one.state]),
            _trials(one),
            _score(one.best_value),
            "" if one.best_trial is None else f"trial {one.best_trial}",
            *([_score(one.confirmed_score)] if has_confirmed else []),
            _score(one.test_macro_f1),
            "no folder" if one.size_bytes is None else shown_bytes(one.size_bytes),
        )
    return table


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _trials(one: StudySummary) -> str:
    """Return how many trials are over, of how many where the budget counts trials."""
    return f"{one.done}/{one.budget}" if one.limit.unit == "trials" else str(one.done)


def side_by_side_tables(found: SideBySide) -> Iterator[RenderableType]:
    """Yield what is to be known first, the results, and where the configurations differ."""
    for line in found.cautions:
        yield Text(f"caution: {clean_line(line)}", "yellow")
    results = _empty(found, "")
    for name, read in MEASURES.items():
        results.add_row(name, *(read(one) or "" for one in found.results))
    yield results
    if found.differences:
        table = _empty(found, "setting")
        for key, values in found.differences.items():
            table.add_row(key, *(Text(clean_line(value)) for value in values))
        yield Text()
        yield table
    else:
        yield Text("their configurations are the same")


def _empty(found: SideBySide, heading: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(heading)
    for one in found.results:
        table.add_column(Text(clean_line(one.study_name)), justify="right", overflow="fold")
    return table
