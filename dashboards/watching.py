"""A study's status on a terminal, drawn again and again until the study is done.

Must not import torch.
"""

import time
from collections.abc import Callable, Iterator
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from dashboards.lookout import Lookout
from dashboards.status import StudyStatus
from dashboards.status_view import printable, status_table
from storage.errors import DatabaseAwayError

PATIENCE_SECONDS = 5.0
REDRAWS_PER_SECOND = 2.0  # between two looks too, for a terminal may have changed its size
LINES_BESIDES_RUNNING = 21


def watch_status(
    read: Callable[[], StudyStatus], *, every_seconds: float, footer: str, console: Console
) -> None:
    """Show a study until it is done, whatever becomes of the database in between.

    Args:
        read: Reads the status once.
        every_seconds: Time between two readings.
        footer: A line below the status.
        console: Of a terminal. What was seen last stays on it.
    """
    seen: RenderableType = ""
    try:
        # On a screen of its own, which a terminal of another size does not garble.
        with Live(console=console, screen=True, refresh_per_second=REDRAWS_PER_SECOND) as live:
            for status, line in _looks(Lookout(read), every_seconds):
                if status is not None:
                    most = max(3, console.height - LINES_BESIDES_RUNNING)
                    seen = Group(status_table(status, most_running=most), Text(), Text(footer))
                live.update(Group(seen, line), refresh=True)
    finally:
        console.print(seen)


def _looks(
    lookout: Lookout[StudyStatus], every_seconds: float
) -> Iterator[tuple[StudyStatus | None, Text]]:
    """Yield what is new, None while the database is away, with a line about it."""
    away_since: datetime | None = None
    while True:
        begin = time.monotonic()
        try:
            status = lookout.look(PATIENCE_SECONDS if away_since is None else every_seconds)
        except DatabaseAwayError as error:
            away_since = away_since or datetime.now()
            yield None, _away(away_since, error)
        else:
            away_since = None
            yield status, _clock(every_seconds)
            if status.is_over:
                return
        time.sleep(max(0.0, begin + every_seconds - time.monotonic()))


def _clock(every_seconds: float) -> Text:
    now = f"{datetime.now():%H:%M:%S}"
    return Text(f"{now}, every {every_seconds:g} s; Ctrl-C ends the watch, not the study", "dim")


def _away(since: datetime, error: DatabaseAwayError) -> Text:
    seconds = (datetime.now() - since).total_seconds()
    reason = printable(str(error))
    return Text(
        f"database away since {since:%H:%M:%S} ({seconds:.0f} s): asking again ({reason})", "red"
    )
