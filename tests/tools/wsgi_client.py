"""Asks a WSGI application in this process: no port, no waiting."""

import io
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from dashboards.servers.auth import WsgiApp

PORT = "8080"
OF_RULE = {  # what stands for a part of a route
    "<:re:(/.*)?>": "/studies/1",
    "<filename:path>": "bundle.js.LICENSE.txt",
    "<plot_type>": "none",
}


class Answer(NamedTuple):
    """What an application answered."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    app: WsgiApp,
    path: str,
    method: str = "GET",
    *,
    query: str = "",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return the answer to one request without a body.

    Args:
        app: The application.
        path: Path of the address, not quoted.
        method: The request's method.
        query: What follows the question mark, quoted.
        headers: Further headers by name, each byte as a character.
    """
    answer: dict[str, Any] = {}

    def start_response(status: str, found: list[tuple[str, str]], _error: Any = None) -> None:
        answer.update(status=int(status.split()[0]), headers=dict(found))

    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_ACCEPT_ENCODING": "identity",
        "HTTP_HOST": f"127.0.0.1:{PORT}",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": PORT,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": "0",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
    }
    for name, value in (headers or {}).items():
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    chunks = app(environ, start_response)
    try:
        return Answer(answer["status"], answer["headers"], b"".join(chunks))
    finally:
        getattr(chunks, "close", lambda: None)()


def routes(app: Any) -> list[tuple[str, str]]:
    """Return method and an address of every route of an application."""
    return [
        (route.method, re.sub(r"<[^>]*>", lambda part: OF_RULE.get(part[0], "1"), route.rule))
        for route in app.routes
    ]
