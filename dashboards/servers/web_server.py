"""Serves pages to many clients at once; none of them can keep the others out.

Must not import torch.
"""

import logging
import secrets
import socket
import time
from collections import defaultdict
from dataclasses import replace
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from dashboards.servers.auth import Access, WsgiApp, address_with_token, guard, is_loopback
from dashboards.servers.sockets import url_host

MOST_CONNECTIONS = 512
"""A process may have 1024 files open on most machines."""
ALLOWED_SECONDS = 1.0
"""Age from which a connection may have to make room; what it has sent has been read by then."""
SETTINGS = {
    "threads": 8,
    "asyncore_use_poll": True,  # select() cannot watch more than 1024 files
    "connection_limit": 2**31,  # at which waitress would accept no more: `_make_room` does better
    "channel_timeout": 20,
    "cleanup_interval": 5,
    # Bodies are read before the token is checked; a note is far smaller.
    "max_request_body_size": 2**20,
    "max_request_header_size": 2**16,
    # No thread waits for a client that does not read its answer: it goes to a file.
    "outbuf_high_watermark": 2**31,
}


class WebServer(TcpWSGIServer):  # type: ignore[misc]
    """Waitress, which makes room where all connections are taken.

    Args:
        app: What answers.
        listening: A socket that listens.
        settings: Of waitress, instead of those in `SETTINGS`.
    """

    def __init__(self, app: WsgiApp, listening: socket.socket, **settings: Any) -> None:
        # It would log each request that waits for a thread.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        address = (listening.family, listening.type, listening.proto, listening.getsockname())
        adjustments = Adjustments(**(SETTINGS | settings))
        super().__init__(
            app, _sock=listening, bind_socket=False, sockinfo=address, adj=adjustments
        )

    def readable(self) -> bool:
        """Return whether to accept a connection; the loop asks this again and again."""
        is_full = len(self.active_channels) >= MOST_CONNECTIONS
        if is_full:
            self._make_room()
        return super().readable() and not is_full

    def _make_room(self) -> None:
        """Close the oldest waiting connection of the address that has most of them.

        So an address that fills the server with half a request on each connection keeps nobody
        out, neither another one nor, behind a proxy, those who share it.
        """
        waiting = defaultdict(list)
        for channel in self.active_channels.values():  # the oldest first
            if not (channel.requests or channel.total_outbufs_len or channel.will_close):
                waiting[channel.addr[0]].append(channel)
        for oldest, *_ in sorted(waiting.values(), key=len)[-1:]:
            age_seconds = time.time() - oldest.creation_time
            oldest.will_close = age_seconds > ALLOWED_SECONDS

    def serve(self) -> None:
        """Serve until interrupted."""
        try:
            self.run()
        finally:
            self.close()


def serve_guarded(app: WsgiApp, access: Access, listening: socket.socket, *, what: str) -> None:
    """Serve pages until interrupted, and print the address that a browser is to open.

    Args:
        app: What is served, to those whom `access` lets in.
        access: Conditions for requests. Where it has no token and the address is not one of
            loopback, a token is made up.
        listening: A socket that listens.
        what: What is served, to be printed.
    """
    address = listening.getsockname()[0]
    if access.token is None and not is_loopback(address):
        access = replace(access, token=secrets.token_urlsafe(32))
    server = WebServer(guard(app, access), listening)
    root = f"http://{url_host(address)}:{server.effective_port}/"
    print(f"{what}: {address_with_token(root, access.token)}  (Ctrl+C stops it)", flush=True)
    server.serve()
