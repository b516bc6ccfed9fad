"""A study's status on a terminal, refreshed until the study is done.

Must not import torch.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from dashboards.analysis.status import StudyStatus
from dashboards.analysis.timed_read import TimedReader
from dashboards.terminal.status import clean_line, status_table
from storage.errors import DatabaseAwayError

PATIENCE_SECONDS = 5.0
REDRAWS_PER_SECOND = 2.0  # more often than the status is read: a terminal may change its size


@dataclass(frozen=True)
class StatusView:
    """A status with a line below it, for a terminal of any size.

    Attributes:
        status: The last reading.
        now: Local time of that reading.
        footer: A line below it.
    """

    status: StudyStatus
    now: datetime
    footer: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the status with as many running trials, each on one line, as leave it whole."""
        without_rows = len(console.render_lines(self._drawn(0), options.reset_height()))
        yield self._drawn(max(1, options.max_height - without_rows))

    def _drawn(self, most_running: int) -> Group:
        # The line that counts the rest gives its place to the last row.
        rest = self.status.running - most_running
        shown = status_table(self.status, most_running=most_running + (rest == 1), now=self.now)
        return Group(shown, Text(), Text(self.footer))


@dataclass(frozen=True)
class Screen:
    """A whole screen, whose last line is there however much is above it.

    Attributes:
        above: What the rest of the screen shows.
        line: The last line; it may need more than one.
    """

    above: RenderableType
    line: Text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the screen, cut where the line begins."""
        below = console.render_lines(self.line, options.reset_height())[: options.max_height]
        room = options.max_height - len(below)
        # Room at most, for an exact height would be filled with empty lines.
        above = console.render_lines(self.above, options.update_height(room).reset_height())
        for line in [*above[:room], *below]:
            yield from line
            yield Segment.line()


def watch_status(
    read: Callable[[], StudyStatus], *, every_seconds: float, footer: str, console: Console
) -> None:
    """Show a study until it is done, also through outages of the database.

    Args:
        read: Reads the status once.
        every_seconds: Time between two readings.
        footer: A line below the status.
        console: Of a terminal. The last status stays on it.
    """
    seen: RenderableType = Text()
    try:
        # On a screen of its own, which a terminal of another size does not garble.
        with Live(console=console, screen=True, refresh_per_second=REDRAWS_PER_SECOND) as live:
            for status, line in _readings(TimedReader(read), every_seconds):
                if status is not None:
                    seen = StatusView(status, datetime.now(), footer)
                live.update(Screen(seen, line), refresh=True)
    finally:
        console.print(seen)


def _readings(
    reader: TimedReader[StudyStatus], every_seconds: float
) -> Iterator[tuple[StudyStatus | None, Text]]:
    """Yield a new status, or None while the database is away, with a line about it."""
    away_since: datetime | None = None
    while True:
        begin = time.monotonic()
        try:
            status = reader.read(PATIENCE_SECONDS if away_since is None else every_seconds)
        except DatabaseAwayError as error:
            away_since = away_since or datetime.now()
            yield None, _away(away_since, error)
        else:
            away_since = None
            yield status, _clock(every_seconds)
            if status.is_over and not (status.has_live_confirmation or status.has_live_final_run):
                return
        time.sleep(max(0.0, begin + every_seconds - time.monotonic()))


def _clock(every_seconds: float) -> Text:
    now = f"{datetime.now():%H:%M:%S}"
    return Text(f"{now}, every {every_seconds:g} s; Ctrl-C ends the watch, not the study", "dim")


def _away(since: datetime, error: DatabaseAwayError) -> Text:
    seconds = (datetime.now() - since).total_seconds()
    reason = clean_line(str(error))
    return Text(
        f"database away since {since:%H:%M:%S} ({seconds:.0f} s): retrying ({reason})", "red"
    )
