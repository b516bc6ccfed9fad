"""A server in a process of its own, with files of its own, that says where it listens."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import IO


def _serve(serve: Callable[[], None], said: Connection) -> None:
    os.dup2(said.fileno(), 1)
    sys.stdout = os.fdopen(1, "w")
    serve()


@contextmanager
def forked(serve: Callable[[], None]) -> Iterator[IO[str]]:
    """Yield what a server prints, which must be no word more than the test has read."""
    processes = multiprocessing.get_context("fork")
    here, there = processes.Pipe(duplex=False)
    server = processes.Process(target=_serve, args=(serve, there))
    server.start()
    there.close()
    with open(here.fileno(), closefd=False) as lines:
        try:
            yield lines
        finally:
            server.terminate()
            server.join()
        assert lines.read() == ""  # no request is told of
    here.close()
