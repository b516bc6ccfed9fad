"""Commands that serve pages, as real processes on free ports."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tools.processes import ProcessServer, wait_until


@contextmanager
def served(processes: ProcessServer, *arguments: str, folder: Path) -> Iterator[str]:
    """Yield the address of what a command serves; SIGTERM must end it, and free the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = processes.start(*arguments, "--port", str(port), folder=folder)

    def answers() -> bool:
        assert started.poll() is None, started.said()
        return is_open(port)

    wait_until(answers, f"port {port} of {started.name}", seconds=90, every=0.1)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        started.send_signal_if_alive(signal.SIGTERM)
        started.wait()
    assert not is_open(port), f"{started.name} left a server behind"


def is_open(port: int) -> bool:
    """Return whether anybody listens."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
