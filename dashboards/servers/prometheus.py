"""The metrics as a page that Prometheus scrapes. Must not import torch."""

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app

from dashboards.servers.auth import NO_LOGIN, WsgiApp, is_loopback, is_of_this_machine
from dashboards.servers.sockets import listen, resolve, url_host
from dashboards.servers.web_server import WebServer

PATH = "/metrics"
NOT_FOUND = f"the metrics are at {PATH}\n".encode()
OTHER_HOST = b"on a loopback address the metrics answer to names of this machine only\n"
MAX_BODY_BYTES = 2**16


def build_app(registry: CollectorRegistry, *, only_local: bool = False) -> WsgiApp:
    """Return a WSGI application that answers to /metrics and nothing else.

    Args:
        registry: The metrics.
        only_local: Whether to answer to names of this machine only.
    """
    metrics: WsgiApp = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if only_local and not is_of_this_machine(environ.get("HTTP_HOST")):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [OTHER_HOST]
        if environ["PATH_INFO"] == PATH:
            return metrics(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [NOT_FOUND]

    return app


def serve_metrics(
    registry: CollectorRegistry, *, host: str, port: int, say: Callable[[str], None]
) -> None:
    """Serve until interrupted.

    Args:
        registry: The metrics.
        host: Name or IP address to listen on.
        port: Port to listen on, 0 for a free one.
        say: Prints a line.

    Raises:
        DashboardError: If the address or the port cannot be had.
    """
    address = resolve(host)
    app = build_app(registry, only_local=is_loopback(address))
    server = WebServer(app, listen(address, port), threads=2, max_request_body_size=MAX_BODY_BYTES)
    if not is_loopback(address):
        say(NO_LOGIN)
    say(f"metrics: http://{url_host(address)}:{server.effective_port}{PATH}  (Ctrl+C stops it)")
    server.serve()
