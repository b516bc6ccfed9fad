"""TensorBoard over the runs of a study, or of all, behind the guard of the dashboard.

By itself it answers to any Host, so that a page of another site could read all runs through a
name that it lets point to 127.0.0.1. Must not import torch.
"""

from pathlib import Path

from tensorboard.program import TensorBoard

from dashboards.errors import DashboardError
from dashboards.servers.auth import Access
from dashboards.servers.sockets import listen, resolve
from dashboards.servers.web_server import serve_guarded

# Its page asks for many runs at once by POST; it has nothing that can be written.
READING_METHODS = ("GET", "HEAD", "POST")


def serve_tensorboard(folder: Path, *, host: str, port: int, token: str | None = None) -> None:
    """Serve until interrupted, and print the address that a browser is to open.

    Args:
        folder: Runs are the folders below it that hold event files.
        host: Name or IP address to listen on.
        port: Port to listen on, 0 for a free one.
        token: What every request must know; where it is None and `host` is not a loopback
            address, one is made up.

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
    # Its `main` would leave a file in a folder of /tmp that everyone may write. When
    # `tensorboard` is collected, the process that reads the runs ends.
    tensorboard = TensorBoard(server_class=lambda app, _flags: app)
    tensorboard.configure(logdir=str(folder))
    app = tensorboard._make_server()
    serve_guarded(app, access, listening, what="TensorBoard")
