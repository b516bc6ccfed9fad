"""The table of trials in a terminal. Must not import torch."""

from collections.abc import Sequence

from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from dashboards.formatting import shown_duration, shown_params
from storage.trial_rows import TrialRow, by_value

STATE_STYLES = {
    "waiting": "dim",
    "paused": "magenta",
    "running": "cyan",
    "complete": "green",
    "pruned": "yellow",
    "failed": "red",
}


def trials_table(rows: Sequence[TrialRow], *, with_loss: bool = False) -> Table:
    """Return all trials, the best value first, as a table for a terminal of 80 columns.

    The state of a trial that ended early says how, in the colour of its state.

    Args:
        rows: The trials.
        with_loss: Whether the validation loss of the best epoch has a column.
    """
    names = list(dict.fromkeys(name for row in rows for name in shown_params(row)))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    loss = ("loss",) if with_loss else ()
    for heading in ("trial", "state", "macro-F1", *loss, "best\nepoch", *names, "time"):
        justify: JustifyMethod = "left" if heading == "state" else "right"
        # One word a line: the terminal has 80 columns.
        table.add_column(Text(heading.replace(" ", "\n")), justify=justify, no_wrap=True)
    for row in by_value(rows):
        table.add_row(*_cells(row, names, with_loss=with_loss))
    if any(row.is_imported for row in rows):
        table.caption = "* imported from another study"
    return table


def _cells(row: TrialRow, names: Sequence[str], *, with_loss: bool) -> list[Text]:
    """Return the cells of a row; as `Text`, since rich reads brackets in a str as markup."""
    shown = shown_params(row)
    loss = [Text("" if row.best is None else f"{row.best.validation_loss:.4f}")]
    return [
        Text(f"{row.number}{'*' if row.is_imported else ''}"),
        Text(row.reason["kind"] if row.reason else row.state, STATE_STYLES[row.state]),
        Text("" if row.value is None else f"{row.value:.4f}"),
        *(loss if with_loss else []),
        Text(f"{row.best_epoch}/{row.epochs_done}" if row.epochs_done else ""),
        *(Text(shown.get(name, "")) for name in names),
        Text(shown_duration(row.seconds) if row.seconds else ""),
    ]
