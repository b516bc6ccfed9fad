"""Ctrl-C in any command: answered at once, wherever the command stands.

Python raises its exception between two steps of the main thread, which may stand in one call for
long (an import, a fit, a locked database). A thread hears the signal at once. Commands that train
hand their signals to a `StopFlag` when they begin.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
QUIET_SECONDS = 0.3
"""Time in which most commands end, so that no more than their last line need be read."""


@contextmanager
def answering_interrupts() -> Iterator[None]:
    """Say that the command stops where it does not at once; let a second Ctrl-C end it.

    Where Ctrl-C is ignored, or somebody else's, nothing is changed.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_answer, args=(reader,), name="interrupts", daemon=True).start()
    try:
        yield
    finally:
        current = signal.set_wakeup_fd(-1)
        if current != writer:  # a `StopFlag` listens by now
            signal.set_wakeup_fd(current, warn_on_full_buffer=False)
        os.close(writer)


def _answer(reader: int) -> None:
    heard = False
    while number := os.read(reader, 1):
        if number[0] != signal.SIGINT:
            continue
        if heard:
            os._exit(INTERRUPTED)
        heard = True
        if not select.select([reader], [], [], QUIET_SECONDS)[0]:
            print("study: stopping; Ctrl-C again ends at once", file=sys.stderr, flush=True)
    os.close(reader)
