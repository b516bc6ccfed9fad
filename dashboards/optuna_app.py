"""optuna-dashboard, served behind a guard: read-only, and with a token where others reach it.

optuna-dashboard 0.21 has no authentication and no read-only mode: whoever reaches its port may
delete a study with all its artifacts. Must not import torch.
"""

import secrets

import optuna
import waitress
from optuna_dashboard import wsgi

from dashboards.access import Access, WsgiApp, address_with_token, guard, is_loopback
from dashboards.artifacts import RunFiles, answering_for
from dashboards.deleting import deleting_whole
from dashboards.errors import DashboardError
from dashboards.listening import listen, reachable, resolved
from dashboards.study_page import sending_pages
from storage.study_storage import StudyStorage

MAX_BODY_BYTES = 2**20
"""A note is far smaller, and bodies are read before a token is asked for."""


def build_dashboard(
    storage: StudyStorage, artifacts: RunFiles | None = None, *, grace: float = 600.0
) -> WsgiApp:
    """Return optuna-dashboard over a storage, unguarded: `serve_dashboard` guards it.

    Args:
        storage: The database.
        artifacts: Finds the files that are linked to studies and trials; None: none are shown.
        grace: Age of a worker's beat, in seconds, after which its study may be deleted.
    """
    # Its polls reread every finished trial unless Optuna's cache stands between.
    cached = optuna.storages.get_storage(storage)
    app = sending_pages(wsgi(cached, artifact_store=artifacts), cached)
    if artifacts is not None:
        app = answering_for(artifacts, storage, app)
    return deleting_whole(app, storage, cached, grace=grace)


def serve_dashboard(
    app: WsgiApp, *, host: str, port: int, token: str | None = None, writable: bool = False
) -> None:
    """Serve until interrupted, and print the address that a browser is to open.

    Args:
        app: What `build_dashboard` returned.
        host: Name or IP address to listen on.
        port: Port to listen on, 0 for a free one.
        token: What every request must know; where it is None and `host` is not a loopback
            address, one is made up.
        writable: Whether requests may change notes and delete studies.

    Raises:
        DashboardError: If the token is empty, or the address or port cannot be had.
    """
    if token == "":
        raise DashboardError("--token must not be empty: leave it out to have one made up")
    address = resolved(host)
    if token is None and not is_loopback(address):
        token = secrets.token_urlsafe(32)
    listening = listen(address, port)
    app = guard(app, Access(token, writable))
    server = waitress.create_server(app, sockets=[listening], max_request_body_size=MAX_BODY_BYTES)
    url = address_with_token(f"http://{reachable(address)}:{server.effective_port}/", token)
    kind = "writable" if writable else "read-only"
    print(f"dashboard ({kind}): {url}  (Ctrl+C stops it)", flush=True)
    try:
        server.run()
    finally:
        server.close()
