"""What long work shows: bars on a terminal, plain lines when piped."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def say(text: str) -> None:
    """Print a line at once, also when piped."""
    print(text, flush=True)


def is_terminal() -> bool:
    """Return whether someone watches the standard output."""
    return sys.stdout.isatty()


def bar() -> "Progress":
    """Return a bar with count, elapsed and remaining time."""
    from rich import progress  # here, for it would make every command start later

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )


def track(iterable: Iterable[T], description: str, total: int, /) -> Iterator[T]:
    """Show the progress of a loop: a bar on a terminal, else a line every ten seconds."""
    if is_terminal():
        with bar() as shown:
            yield from shown.track(iterable, total=total, description=description)
        return
    start = said = time.monotonic()
    for done, item in enumerate(iterable):
        now = time.monotonic()
        if now - said > SECONDS_BETWEEN_LINES:
            said = now
            remaining = (now - start) / max(done, 1) * (total - done)
            say(f"{description}: {done} of {total}, {remaining:.0f} s left")
        yield item
