"""What long work shows: bars on a terminal, plain lines when piped."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar, cast

from study.log_lines import is_stamped
from study.program import name_program

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from model.training_state import EpochResult

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0
LAST_STANDARD_STREAM = 2


class _Unbreakable:
    """A stream whose reader may leave, and whose disk may be full: what it cannot take is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def open_missing_streams() -> None:
    """Open the standard streams that a program was started without, as `>&-` does, to nothing.

    Else a file that is opened next, such as a database, would get their descriptors.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= LAST_STANDARD_STREAM:
        pass
    os.close(descriptor)
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def finish_output() -> None:
    """Write out what is printed; let what nobody reads any more, or what has no room, be lost."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def survive_lost_output() -> None:
    """Let no printing and no logging end a program that has something better to do."""
    sys.stdout = cast(TextIO, _Unbreakable(sys.stdout))
    sys.stderr = cast(TextIO, _Unbreakable(sys.stderr))


def say(text: str) -> None:
    """Print a line at once, also when piped, its commands as they work here."""
    print(name_program(text), flush=True)


def explain_wait(text: str) -> None:
    """Say on the standard error what takes time now, where somebody waits at a terminal."""
    if sys.stderr.isatty():
        print(f"{text} ...", file=sys.stderr, flush=True)


def fail(message: str, code: int) -> NoReturn:
    """End with one line and an exit code; a name in it cannot steer the terminal."""
    line = name_program(" ".join(map(str.strip, message.splitlines())))
    print(f"study: {printable(line)}", file=sys.stderr)
    sys.exit(code)


def printable(text: str) -> str:
    """Return a text that cannot steer the terminal, or break a line."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_terminal() -> bool:
    """Return whether someone watches the standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def bar() -> "Progress":
    """Return a bar with count, rate and remaining time."""
    from rich import progress  # here, for it would make every command start later

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=16),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(compact=True),
    )


class EpochProgress:
    """Shows the epochs of a worker's trials: a bar for each on a terminal, else a line each.

    Args:
        kind: What trains.
        n_epochs: Epochs of each.
        first: What the first one is called.
    """

    def __init__(self, *, kind: str, n_epochs: int, first: int = 0) -> None:
        self._kind = kind
        self._first = first
        self._n_epochs = n_epochs
        self._bar = bar() if is_terminal() else None
        self._tasks: dict[int, TaskID] = {}
        self._expected: TaskID | None = None

    def __enter__(self) -> "EpochProgress":
        if self._bar is not None:
            self._bar.start()
            text = f"{self._kind}: first epoch ..."
            self._expected = self._bar.add_task(text, total=self._n_epochs, rate="")
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._end_expectation()
            self._bar.stop()

    def _end_expectation(self) -> None:
        """Remove the bar that stands for a first epoch."""
        if self._bar is not None and self._expected is not None:
            self._bar.remove_task(self._expected)
            self._expected = None

    def __call__(self, number: int, result: "EpochResult") -> None:
        """Show an epoch of the trial of this number."""
        macro_f1 = f"macro-F1 {result.validation.macro_f1:.4f}"
        rate = f"{result.images_per_second:.0f} images/s"
        name = f"{self._kind} {number + self._first}"
        if self._bar is None:
            remaining = result.seconds * (self._n_epochs - result.epoch)
            line = (
                f"validation {macro_f1}, loss {result.validation.loss:.4f}, {rate}, "
                f"{remaining:.0f} s left"
            )
            # Lines of a worker's log begin with trial and epoch anyway.
            named = "" if is_stamped() else f"{name} epoch {result.epoch}/{self._n_epochs}: "
            say(named + line)
            return
        self._end_expectation()
        if number not in self._tasks:
            self._tasks[number] = self._bar.add_task(name, total=self._n_epochs, rate="")
        self._bar.update(
            self._tasks[number],
            completed=result.epoch,
            description=f"{name}: {macro_f1}",
            rate=rate,
        )


def track(iterable: Iterable[T], description: str, total: int, step: int, /) -> Iterator[T]:
    """Show the progress of a loop: a bar on a terminal, else a line every ten seconds.

    Args:
        iterable: Passed through.
        description: What is done.
        total: Units of the whole loop.
        step: Units that each item stands for.
    """
    shown = bar() if is_terminal() else None
    start = said = time.monotonic()
    if shown is not None:
        shown.start()
        task = shown.add_task(description, total=total, rate="")
    try:
        for index, item in enumerate(iterable, start=1):
            yield item
            done, now = min(index * step, total), time.monotonic()
            rate = done / (now - start)
            if shown is not None:
                shown.update(task, completed=done, rate=f"{rate:.0f}/s")
            elif now - said > SECONDS_BETWEEN_LINES:
                said = now
                remaining = (total - done) / rate
                line = f"{description}: {done:,} of {total:,}, {rate:.0f}/s"
                # Not on the standard output, which may be JSON.
                print(f"{line}, {remaining:.0f} s left", file=sys.stderr, flush=True)
    finally:
        if shown is not None:
            shown.stop()
