"""optuna-dashboard, served behind a guard: read-only, and with a token where others reach it.

optuna-dashboard 0.21 has no authentication and no read-only mode: anyone who reaches its port can
delete a study with all its artifacts. Must not import torch.
"""

import optuna
from optuna_dashboard import wsgi

from dashboards.optuna_dashboard.artifacts import RunFiles, serve_run_files
from dashboards.optuna_dashboard.deletion import delete_whole
from dashboards.optuna_dashboard.error_pages import explain_errors, raise_errors
from dashboards.optuna_dashboard.hidden_buttons import hide_buttons
from dashboards.optuna_dashboard.importances import serve_importances
from dashboards.optuna_dashboard.study_page import serve_pages
from dashboards.servers.auth import Access, WsgiApp
from dashboards.servers.sockets import listen, resolve
from dashboards.servers.web_server import serve_guarded
from storage.study_storage import StudyStorage


def build_dashboard(
    storage: StudyStorage, artifacts: RunFiles | None = None, *, grace: float = 600.0
) -> WsgiApp:
    """Return optuna-dashboard over a storage, unguarded: `serve_dashboard` guards it.

    Args:
        storage: The database.
        artifacts: Finds the files that are linked to studies and trials; None: none are shown.
        grace: Age of a worker's heartbeat, in seconds, after which its study may be deleted.
    """
    # Its polls reread every finished trial unless Optuna's cache stands between.
    cached = optuna.storages.get_storage(storage)
    bare = wsgi(cached, artifact_store=artifacts)
    raise_errors(bare, cached)
    app = serve_importances(serve_pages(bare, cached), storage)
    app = hide_buttons(app, writable=not storage.read_only)
    if artifacts is not None:
        app = serve_run_files(artifacts, storage, app)
    return explain_errors(delete_whole(app, storage, cached, grace=grace))


def serve_dashboard(
    app: WsgiApp, *, host: str, port: int, token: str | None = None, writable: bool = False
) -> None:
    """Serve until interrupted, and print the address to open in a browser.

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
    serve_guarded(app, access, listen(resolve(host), port), what=f"dashboard ({kind})")
