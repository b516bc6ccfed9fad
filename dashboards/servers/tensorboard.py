"""TensorBoard over the runs of a study, or of all, behind the guard of the dashboard.

By itself it answers to any Host, so that a page of another site could read all runs through a
name that it lets point to 127.0.0.1. Must not import torch.
"""

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from tensorboard import program
from tensorboard.program import TensorBoard

from dashboards.errors import DashboardError
from dashboards.servers.auth import Access
from dashboards.servers.run_links import NameRuns, linked_runs
from dashboards.servers.sockets import listen, resolve
from dashboards.servers.web_server import serve_guarded

# Its page asks for many runs at once by POST; it has nothing that can be written.
READING_METHODS = ("GET", "HEAD", "POST")


def serve_tensorboard(
    folder: Path,
    *,
    host: str,
    port: int,
    token: str | None = None,
    name_runs: NameRuns | None = None,
) -> None:
    """Serve until interrupted, and print the address that a browser is to open.

    Args:
        folder: Runs are the folders below it that hold event files.
        host: Name or IP address to listen on.
        port: Port to listen on, 0 for a free one.
        token: What every request must know; where it is None and `host` is not a loopback
            address, one is made up.
        name_runs: Returns names of runs by their folders of events, where `folder` is that of one
            study; None: TensorBoard names them after their folders.

    Raises:
        DashboardError: If the folder is missing, the token is empty, or the address or the port
            cannot be had.
    """
    if not folder.is_dir():
        raise DashboardError(
            f"folder of TensorBoard runs must exist, {folder} does not: "
            "start a worker first, or check --runs and --name"
        )
    access = Access(token, reading_methods=READING_METHODS)
    listening = listen(resolve(host), port)
    with ExitStack() as stack:
        shown = folder
        if name_runs is not None:
            # So that the links are removed when the process is told to stop.
            signal.signal(signal.SIGTERM, _leave)
            shown = stack.enter_context(linked_runs(folder, name_runs))
        # Its `main` would leave a file in a folder of /tmp that everyone may write. When
        # `tensorboard` is collected, the process that reads the runs ends.
        tensorboard = TensorBoard(server_class=lambda app, _flags: app)
        tensorboard.configure(logdir=str(shown))
        with _without_advice():
            app = tensorboard._make_server()
        serve_guarded(app, access, listening, what="TensorBoard")


def _leave(_signal: int, _frame: Any) -> None:
    raise SystemExit


@contextmanager
def _without_advice() -> Iterator[None]:
    """Leave out the advice, at each start, to report issues of its usual way to read runs."""
    with redirect_stderr(io.StringIO()) as told:
        try:
            yield
        finally:
            said = told.getvalue().replace(program._DATA_SERVER_ADVISORY_MESSAGE, "")
            print(said, end="", file=sys.__stderr__)
