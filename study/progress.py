"""What long work shows: bars on a terminal, plain lines when piped."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from model.training_state import EpochResult

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


class EpochProgress:
    """Shows the epochs of a worker's trials: a bar for each on a terminal, else a line each."""

    def __init__(self, *, kind: str, n_epochs: int) -> None:
        self._kind = kind
        self._n_epochs = n_epochs
        self._bar = bar() if is_terminal() else None
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> "EpochProgress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, number: int, result: "EpochResult") -> None:
        """Show an epoch of the trial of this number."""
        scores = (
            f"macro-F1 {result.validation.macro_f1:.4f}, loss {result.validation.loss:.4f}, "
            f"{result.images_per_second:.0f} images/s"
        )
        name = f"{self._kind} {number}"
        if self._bar is None:
            remaining = result.seconds * (self._n_epochs - result.epoch)
            epoch = f"epoch {result.epoch}/{self._n_epochs}"
            say(f"{name} {epoch}: validation {scores}, {remaining:.0f} s left")
            return
        if number not in self._tasks:
            self._tasks[number] = self._bar.add_task(name, total=self._n_epochs)
        described = f"{name}: {scores}"
        self._bar.update(self._tasks[number], completed=result.epoch, description=described)


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
