"""The console script `study`, and `python -m study`.

Its first steps import nothing that takes time, so that Ctrl-C is answered from the beginning.
"""

import os
import signal
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130  # repeats `study.stop_signal`, which would have to be imported


def main() -> NoReturn:
    """Run the command line."""
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if listens:
        signal.signal(signal.SIGINT, _stop_before_the_begin)
    from study import cli

    if listens:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


def _stop_before_the_begin(_number: int, _frame: FrameType | None) -> NoReturn:
    # An exception could be raised in an import that makes another one of it.
    os.write(2, b"study: stopped before anything was begun\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
