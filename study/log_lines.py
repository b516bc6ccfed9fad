"""What begins each line of a worker's log: when, where, and which trial, attempt and epoch.

So every line can be read alone, and the logs of many workers together, sorted. Must not know what
a worker does.
"""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO, cast


@dataclass
class _Subject:
    """What this process works on now; all its threads write of it."""

    trial: str = ""
    epoch: str = ""


_subject = _Subject()


class StampedStream:
    """A stream that writes a stamp before every line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begins_line = True

    def write(self, text: str) -> int:
        """Write a text, a stamp before each line that it begins."""
        stamped = []
        for line in text.splitlines(keepends=True):
            stamped.append(f"{stamp() if self._begins_line else ''}{line}")
            self._begins_line = line.endswith("\n")
        self._stream.write("".join(stamped))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def stamp() -> str:
    """Return the beginning of a line that is written now."""
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    subject = f"{_subject.trial}{_subject.epoch}"
    return f"{now} {socket.gethostname()}:{os.getpid()}{subject}: "


def stamp_lines() -> None:
    """Let every line of this process begin with a stamp, those of its logging too."""
    before = sys.stderr
    sys.stdout = cast(TextIO, StampedStream(sys.stdout))
    sys.stderr = cast(TextIO, StampedStream(sys.stderr))
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream in (
            before,
            sys.__stderr__,
        ):
            handler.setStream(sys.stderr)


def is_stamped() -> bool:
    """Return whether this process writes a worker's log."""
    return isinstance(sys.stdout, StampedStream)


def note(text: str) -> None:
    """Write a line into a worker's log; elsewhere nothing."""
    if is_stamped():
        print(text, flush=True)


@contextmanager
def about_trial(number: int, attempt: int) -> Iterator[None]:
    """Let lines within the context be of an attempt at a trial."""
    _subject.trial, _subject.epoch = f" trial {number} attempt {attempt}", ""
    try:
        yield
    finally:
        _subject.trial = _subject.epoch = ""


def about_epoch(epoch: int, n_epochs: int) -> None:
    """Let the next lines be of an epoch, until the attempt ends."""
    _subject.epoch = f" epoch {epoch}/{n_epochs}"
