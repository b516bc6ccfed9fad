"""Studies in a terminal of 80 columns: a row each, or side by side. Must not import torch."""

from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dashboards.formatting import shown_bytes, shown_duration
from dashboards.studies.side_by_side import SideBySide, StudyResult
from dashboards.studies.summary import StudySummary
from dashboards.terminal.status import clean_line

STATES = {
    "running": "cyan",
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
    for heading in ("trials", "macro-F1", "best", "test", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in summaries:
        table.add_row(
            Text(clean_line(one.study_name)),
            Text(one.state, STATES[one.state]),
            f"{one.done}/{one.budget}",
            "" if one.best_value is None else f"{one.best_value:.4f}",
            "" if one.best_trial is None else f"trial {one.best_trial}",
            "" if one.test_macro_f1 is None else f"{one.test_macro_f1:.4f}",
            "no folder" if one.size_bytes is None else shown_bytes(one.size_bytes),
        )
    return table


def side_by_side_tables(found: SideBySide) -> Iterator[RenderableType]:
    """Yield what is to be known first, the results, and where the configurations differ."""
    for line in found.cautions:
        yield Text(f"caution: {clean_line(line)}", "yellow")
    yield _table(found, "", ((name, read) for name, read in MEASURES.items()))
    if found.differences:
        table = _empty(found, "setting")
        for key, values in found.differences.items():
            table.add_row(key, *(Text(clean_line(value)) for value in values))
        yield Text()
        yield table
    else:
        yield Text("their configurations are the same")


def _table(
    found: SideBySide, heading: str, measures: Iterator[tuple[str, Callable[[StudyResult], str]]]
) -> Table:
    table = _empty(found, heading)
    for name, read in measures:
        table.add_row(name, *(read(one) for one in found.results))
    return table


def _empty(found: SideBySide, heading: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(heading)
    for one in found.results:
        table.add_column(Text(clean_line(one.study_name)), justify="right", overflow="fold")
    return table


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


MEASURES: dict[str, Callable[[StudyResult], str]] = {
    "trials done": lambda one: f"{one.done} of {one.budget}",
    "by state": lambda one: ", ".join(f"{n} {state}" for state, n in one.trials.items() if n),
    "best validation macro-F1": lambda one: _score(one.best_value),
    "of trial": lambda one: "" if one.best_trial is None else str(one.best_trial),
    "final validation macro-F1": lambda one: _score(one.final_validation_macro_f1),
    "test macro-F1": lambda one: _score(one.test_macro_f1),
    "test accuracy": lambda one: _score(one.test_accuracy),
    "epochs": lambda one: f"{one.epochs:,}",
    "worker time": lambda one: shown_duration(one.worker_seconds),
}
"""What is compared, in the order of the rows; the report's page shows the same."""
