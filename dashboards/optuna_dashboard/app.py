"""optuna-dashboard, served behind a guard: read-only, and with a token where others reach it.

optuna-dashboard 0.21 has no authentication and no read-only mode: whoever reaches its port may
delete a study with all its artifacts. Must not import torch.
"""

import optuna
from optuna_dashboard import wsgi

from dashboards.optuna_dashboard.artifacts import RunFiles, answering_for
from dashboards.optuna_dashboard.deletion import deleting_whole
from dashboards.optuna_dashboard.error_pages import explaining, raise_errors
from dashboards.optuna_dashboard.study_page import sending_pages
from dashboards.servers.auth import Access, WsgiApp
from dashboards.servers.sockets import listen, resolved
from dashboards.servers.web_server import serve_guarded
from storage.study_storage import StudyStorage


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
    bare = wsgi(cached, artifact_store=artifacts)
    raise_errors(bare, cached)
    app = sending_pages(bare, cached)
    if artifacts is not None:
        app = answering_for(artifacts, storage, app)
    return explaining(deleting_whole(app, storage, cached, grace=grace))


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
    access = Access(token, writable)
    kind = "writable" if writable else "read-only"
    serve_guarded(app, access, listen(resolved(host), port), what=f"dashboard ({kind})")
