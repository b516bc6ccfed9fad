"""The table of trials in a terminal. Must not import torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.table import Table
from rich.text import Text

from dashboards.formatting import shown_duration, shown_params
from storage.trial_rows import TrialRow, by_value

WIDEST = 1000
STATE_STYLES = {
    "waiting": "dim",
    "paused": "magenta",
    "running": "cyan",
    "complete": "green",
    "pruned": "yellow",
    "failed": "red",
}


@dataclass(frozen=True)
class TrialsTable:
    """All trials, the best value first; hyperparameters have a column each where these fit.

    The state of a trial that ended early says how, in the colour of its state.

    Attributes:
        rows: The trials.
        with_loss: Whether the validation loss of the best epoch has a column.
    """

    rows: Sequence[TrialRow]
    with_loss: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the table out for the width of a terminal."""
        names = list(dict.fromkeys(name for row in self.rows for name in shown_params(row)))
        wide = self._table(names)
        needed = console.measure(wide, options=options.update(width=WIDEST)).maximum
        yield wide if needed <= options.max_width else self._table([])

    def _table(self, names: Sequence[str]) -> Table:
        """Return a table with a column for each name; without names, one for all of them."""
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        loss = ("loss",) if self.with_loss else ()
        params = names or ("hyperparameters",)
        for heading in ("trial", "state", "macro-F1", *loss, "best\nepoch", *params, "time"):
            is_text = heading in ("state", "hyperparameters")
            justify: JustifyMethod = "left" if is_text else "right"
            # One word a line: the terminal has 80 columns.
            table.add_column(
                Text(heading.replace(" ", "\n")),
                justify=justify,
                no_wrap=heading != "hyperparameters",
            )
        for row in by_value(self.rows):
            table.add_row(*_cells(row, names, with_loss=self.with_loss))
        if any(row.is_imported for row in self.rows):
            table.caption = "* imported from another study"
        return table


def _cells(row: TrialRow, names: Sequence[str], *, with_loss: bool) -> list[Text]:
    """Return the cells of a row; as `Text`, since rich reads brackets in a str as markup."""
    shown = shown_params(row)
    in_words = ", ".join(f"{name} {text}" for name, text in shown.items())
    loss = [Text("" if row.best is None else f"{row.best.validation_loss:.4f}")]
    return [
        Text(f"{row.number}{'*' if row.is_imported else ''}"),
        Text(row.reason["kind"] if row.reason else row.state, STATE_STYLES[row.state]),
        Text("" if row.value is None else f"{row.value:.4f}"),
        *(loss if with_loss else []),
        Text(f"{row.best_epoch}/{row.epochs_done}" if row.epochs_done else ""),
        *([Text(shown.get(name, "")) for name in names] or [Text(in_words)]),
        Text(shown_duration(row.seconds) if row.seconds else ""),
    ]
