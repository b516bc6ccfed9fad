"""Hides the buttons of optuna-dashboard whose requests are rejected.

The guard rejects them anyway; a button that can only fail need not be there.

Must not import torch.
"""

from collections.abc import Callable, Iterable
from typing import Any

from dashboards.servers.auth import WsgiApp

# By the marks of its icons: a later optuna-dashboard with others shows the buttons again.
NEVER = (
    'button:has([data-testid="AddBoxIcon"])',  # new study
    'button[aria-label="rename study"]',
    'button:has([data-testid="UploadFileIcon"])',
    '.MuiPaper-root:has(> * > [data-testid="UploadFileIcon"])',
)
READING = (
    'button[aria-label="delete study"]',
    'button:has([data-testid="DeleteIcon"])',
    'button:has([data-testid="EditIcon"])',  # of notes
)
CONDITIONS = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH", "HTTP_RANGE")


def hide_buttons(app: WsgiApp, *, writable: bool) -> WsgiApp:
    """Return optuna-dashboard without the buttons that would be rejected.

    Args:
        app: What optuna-dashboard's `wsgi` returned.
        writable: Whether notes may be changed and studies deleted.
    """
    hidden = NEVER if writable else NEVER + READING
    style = f"<style>{', '.join(hidden)} {{ display: none !important; }}</style>".encode()

    def answering(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method not in ("GET", "HEAD") or path.partition("/dashboard")[0] != "":
            return app(environ, start)
        whole = {key: value for key, value in environ.items() if key not in CONDITIONS}
        answer: list[Any] = []
        parts = app({**whole, "REQUEST_METHOD": "GET"}, lambda *given: answer.extend(given))
        page = b"".join(parts).replace(b"</head>", style + b"</head>", 1)
        if hasattr(parts, "close"):
            parts.close()
        status, headers, *error = answer
        lengths = ("content-length", "last-modified", "etag", "accept-ranges")
        kept = [header for header in headers if header[0].lower() not in lengths]
        start(status, [*kept, ("Content-Length", str(len(page)))], *error)
        return [] if method == "HEAD" else [page]

    return answering
