"""optuna-dashboard, served read-only and on this machine only.

optuna-dashboard 0.21 has no authentication and no read-only mode: whoever reaches its port may
delete a study with all its artifacts. Here it is wrapped so that only reading requests pass.
Must not import torch.
"""

import ipaddress
import json
import socket
from collections.abc import Callable, Iterable
from typing import Any

import optuna
import waitress
from optuna_dashboard import wsgi

from dashboards.artifacts import RunFiles, answering_for
from dashboards.errors import DashboardError
from storage.study_storage import StudyStorage

READING_METHODS = ("GET", "HEAD")
REFUSAL = "this dashboard is read-only: change a study with the `study` command"

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def build_dashboard(storage: StudyStorage, artifacts: RunFiles | None = None) -> WsgiApp:
    """Return optuna-dashboard over a storage as a WSGI application that only reads.

    Args:
        storage: The database.
        artifacts: Finds the files that are linked to studies and trials; None: none are shown.
    """
    # Its polls reread every finished trial unless Optuna's cache stands between.
    app = wsgi(optuna.storages.get_storage(storage), artifact_store=artifacts)
    return read_only(app if artifacts is None else answering_for(artifacts, app))


def read_only(app: WsgiApp) -> WsgiApp:
    """Return an application that answers 405 to all but GET and HEAD."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READING_METHODS:
            return app(environ, start_response)
        headers = [("Content-Type", "application/json"), ("Allow", ", ".join(READING_METHODS))]
        start_response("405 Method Not Allowed", headers)
        # The page shows the `reason` of a refused request to its user.
        return [json.dumps({"reason": REFUSAL}).encode()]

    return guarded


def serve_dashboard(app: WsgiApp, *, host: str, port: int) -> None:
    """Serve until interrupted.

    Args:
        app: What `build_dashboard` returned.
        host: `localhost` or another loopback address.
        port: Port to listen on, 0 for a free one.

    Raises:
        DashboardError: If other machines could reach the address, or the port cannot be had.
    """
    address = _loopback_address(host, port)
    listening = _listen(address, port)
    server = waitress.create_server(app, sockets=[listening])
    where = f"[{address}]" if ":" in address else address
    print(f"dashboard (read-only): http://{where}:{server.effective_port}/  (Ctrl+C stops it)")
    try:
        server.run()
    finally:
        server.close()


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DashboardError(
            f"--port must be a free port, {port} on {address} cannot be had ({reason}): "
            "choose another --port"
        ) from None


def _loopback_address(host: str, port: int) -> str:
    # Its name may stand for two addresses; one is enough.
    address = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise DashboardError(
            f"--host must be a loopback address, for the dashboard has no login, got {host!r}: "
            f"use 127.0.0.1, and from elsewhere `ssh -L {port}:127.0.0.1:{port} THIS_MACHINE`"
        )
    return address
