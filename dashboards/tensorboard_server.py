"""TensorBoard's server over the runs of a study, or of all. Must not import torch."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from dashboards.errors import DashboardError
from dashboards.listening import refuse_taken, resolved


def serve_tensorboard(folder: Path, *, host: str, port: int) -> NoReturn:
    """Become TensorBoard, so that a signal to this process stops the server.

    Args:
        folder: Runs are the folders below it that hold event files.
        host: Address to listen on.
        port: Port to listen on.

    Raises:
        DashboardError: If the folder is missing, or the address or the port cannot be had.
    """
    if not folder.is_dir():
        raise DashboardError(
            f"folder of TensorBoard runs must exist, {folder} does not: "
            "start a worker first, or check --runs and --name"
        )
    address = resolved(host)
    refuse_taken(address, port)  # it would itself say why it cannot in several lines
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    os.execv(sys.executable, [*command, "--host", address, "--port", str(port)])
