"""The confirmation of a study in a terminal of 80 columns or more. Must not import torch."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dashboards.analysis.confirmation.reading import CANDIDATE, Confirmation, ConfirmationRun
from dashboards.analysis.confirmation.sentences import headline
from dashboards.analysis.confirmation_status import ConfirmationRunStatus, ConfirmationStatus
from dashboards.formatting import shown_duration, shown_time
from dashboards.terminal.trials import STATE_STYLES

INDENT = (0, 0, 0, 6)


def confirmation_lines(found: ConfirmationStatus, now: datetime) -> Iterator[RenderableType]:
    """Yield the verdict and what it rests on; before it, how far the runs are.

    Args:
        found: Of the study.
        now: Local time of the reading, to which remaining times are added.
    """
    verdict, *others = found.sentences
    yield Text.assemble("confirmation: ", (verdict, "bold" if found.is_over else ""))
    for sentence in others:
        yield Padding(Text(sentence), INDENT, expand=False)
    if not found.is_over:
        yield Padding(_counts(found.runs), INDENT, expand=False)
        for run in found.runs:
            if run.state == "running":
                yield Padding(_running(run, now), INDENT, expand=False)


def _counts(runs: Sequence[ConfirmationRunStatus]) -> Text:
    counts = Counter(run.state for run in runs)
    shown = [Text(f"{counts[state]} {state}", STATE_STYLES[state]) for state in STATE_STYLES]
    states = [text for text, state in zip(shown, STATE_STYLES, strict=True) if counts[state]]
    return Text("runs: ").append(Text("  ").join(states))


def _running(run: ConfirmationRunStatus, now: datetime) -> Text:
    line = Text(f"run {run.number}, {setting_of(run)}: epoch {run.epoch}/{run.n_epochs}")
    if not run.is_alive:
        return line.append(", ").append("no worker is active", "red")
    if run.seconds_left is not None:
        end = shown_time(now + timedelta(seconds=run.seconds_left), now)
        line.append(f", about {shown_duration(run.seconds_left)} to go, until {end}")
    return line


def setting_of(run: ConfirmationRun | ConfirmationRunStatus) -> str:
    """Return what a run trains: `candidate trial 7`, `control trial 0`."""
    return run.role if run.searched_trial is None else f"{run.role} trial {run.searched_trial}"


def confirmation_note(found: Confirmation) -> str:
    """Return the verdict with the confirmed score beside that of the search, in one line."""
    line = f"confirmation: {headline(found)}"
    if found.winner is None or found.confirmed_score is None:
        return line
    confirmed, searched = f"{found.confirmed_score:.4f}", f"{found.winner.search_score:.4f}"
    return f"{line}; trial {found.winner.number}: {confirmed} confirmed, {searched} in the search"


def confirmation_table(found: Confirmation) -> Table:
    """Return the runs of a confirmation in the order of the queue, for 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("run", "setting", "images", "state", "macro-F1", "epochs", "time"):
        is_text = heading in ("setting", "images", "state")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)
    for number, run in enumerate(found.runs, start=1):
        row = run.row
        table.add_row(
            str(number),
            setting_of(run),
            "confirmation" if run.role != CANDIDATE and found.is_on_own_images else "search",
            Text(row.reason["kind"] if row.reason else row.state, STATE_STYLES[row.state]),
            "" if run.score is None else f"{run.score:.4f}",
            str(row.epochs_done) if row.epochs_done else "",
            shown_duration(row.seconds) if row.seconds else "",
        )
    return table
