"""The metrics as a page that Prometheus scrapes. Must not import torch."""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any

import waitress
from prometheus_client import CollectorRegistry, make_wsgi_app

from dashboards.errors import DashboardError

PATH = "/metrics"
NOT_FOUND = f"the metrics are at {PATH}\n".encode()

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def build_app(registry: CollectorRegistry) -> WsgiApp:
    """Return a WSGI application that answers to /metrics and nothing else."""
    metrics: WsgiApp = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
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
        say: Told the address.

    Raises:
        DashboardError: If the address or the port cannot be had.
    """
    listening = _listen(host, port)
    server = waitress.create_server(build_app(registry), sockets=[listening], threads=2)
    address = listening.getsockname()[0]
    shown = f"[{address}]" if ":" in address else address
    if not ipaddress.ip_address(address).is_loopback:
        say("whoever reaches this address reads the names of studies and hosts: there is no login")
    say(f"metrics: http://{shown}:{server.effective_port}{PATH}  (Ctrl+C stops it)")
    try:
        server.run()
    finally:
        server.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DashboardError(
            f"--host and --port must be an address of this machine and a free port there, "
            f"{host} and {port} cannot be had ({reason}): choose others"
        ) from None
