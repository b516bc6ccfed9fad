"""Real connections to the server of all pages, as many and as rude as they come."""

import json
import socket
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from dashboards.optuna_dashboard.app import build_dashboard, serve_dashboard
from dashboards.servers import web_server
from dashboards.servers.prometheus import serve_metrics
from dashboards.servers.sockets import listen
from dashboards.servers.web_server import WebServer
from storage.study_storage import StudyStorage
from tests.tools.forked_server import forked

PATIENCE_SECONDS = 60.0
HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
LARGE = 2**24 + 2**20  # more than waitress keeps for a reader by itself, and than sockets hold


def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = bytes(LARGE) if environ["PATH_INFO"] == "/large" else b"yes"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def serving(**settings: Any) -> Iterator[int]:
    """Yield the port of a server that answers to everything."""

    def serve() -> None:
        server = WebServer(answer, listen("127.0.0.1", 0), **settings)
        print(server.effective_port, flush=True)
        server.serve()

    with forked(serve) as printed:
        yield int(printed.readline())


def connect(port: int, said: bytes, *, of: str = "127.0.0.1") -> socket.socket:
    """Return a connection from an address of this machine on which something was said."""
    address = ("127.0.0.1", port)
    made = socket.create_connection(address, timeout=PATIENCE_SECONDS, source_address=(of, 0))
    with suppress(ConnectionError):  # it has been closed already
        made.sendall(said)
    return made


def connect_often(stack: ExitStack, number: int, port: int, said: bytes, **of: str) -> Any:
    return [stack.enter_context(closing(connect(port, said, **of))) for _ in range(number)]


def fetch(port: int, path: str = "/") -> bytes:
    with urllib.request.urlopen(
        f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS
    ) as answered:
        return bytes(answered.read())


def is_answered(half: socket.socket) -> bool:
    """Return whether a connection is still open to the rest of its request."""
    try:
        half.sendall(b"\r\n")
        return half.recv(15) == b"HTTP/1.1 200 OK"
    except ConnectionError:
        return False


def serve_dashboard_of(storage: StudyStorage) -> None:
    serve_dashboard(build_dashboard(storage), host="127.0.0.1", port=0)


def serve_some_metrics() -> None:
    say = partial(print, flush=True)
    serve_metrics(CollectorRegistry(), host="127.0.0.1", port=0, say=say)


def port_of(line: str) -> int:
    return int(line.rpartition("  (")[0].rpartition(":")[2].partition("/")[0])


def test_dashboard_and_metrics_answer_beside_110_half_open_requests(
    searched_study: StudyStorage,
) -> None:
    dashboard = partial(serve_dashboard_of, searched_study)
    for serve, path in ((dashboard, "/api/studies"), (serve_some_metrics, "/metrics")):
        with forked(serve) as printed, ExitStack() as stack:
            port = port_of(printed.readline())
            connect_often(stack, 110, port, HALF)
            fetch(port, path)


def test_full_server_closes_the_oldest_of_the_address_that_has_most_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web_server, "MOST_CONNECTIONS", 20)
    with serving(channel_timeout=600) as port, ExitStack() as stack:
        few = connect_often(stack, 5, port, HALF, of="127.0.0.3")
        many = connect_often(stack, 50, port, HALF, of="127.0.0.2")
        for _ in range(3):
            assert fetch(port) == b"yes"
        assert all(map(is_answered, few))
        assert not is_answered(many[0]) and is_answered(many[-1])


def test_full_server_behind_a_proxy_answers_whoever_shares_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web_server, "MOST_CONNECTIONS", 20)
    with serving() as port, ExitStack() as stack:
        connect_often(stack, 50, port, HALF)
        assert fetch(port) == b"yes"


def test_more_whole_requests_than_connections_are_all_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web_server, "MOST_CONNECTIONS", 20)
    monkeypatch.setattr(web_server, "ALLOWED_SECONDS", 600)
    with serving(threads=2) as port, ExitStack() as stack:
        whole = connect_often(stack, 100, port, HALF + b"Connection: close\r\n\r\n")
        assert {made.recv(15) for made in whole} == {b"HTTP/1.1 200 OK"}


def test_readers_that_never_read_hold_no_thread() -> None:
    with serving(threads=2) as port, ExitStack() as stack:
        connect_often(stack, 4, port, b"GET /large HTTP/1.0\r\n\r\n")
        assert fetch(port) == b"yes"


def test_connection_that_says_nothing_more_is_closed() -> None:
    with serving(channel_timeout=0, cleanup_interval=0) as port, ExitStack() as stack:
        (half,) = connect_often(stack, 1, port, HALF)
        with suppress(ConnectionResetError):
            assert half.recv(1) == b""


@pytest.mark.slow
def test_five_hundred_parallel_requests_are_answered(searched_study: StudyStorage) -> None:
    request = b"GET /api/studies/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with forked(partial(serve_dashboard_of, searched_study)) as printed, ExitStack() as stack:
        port = port_of(printed.readline())
        asking = connect_often(stack, 500, port, request)
        for made in asking:
            with made.makefile("rb") as lines:
                assert lines.readline() == b"HTTP/1.1 200 OK\r\n"
                body = lines.read().partition(b"\r\n\r\n")[2]
            assert len(json.loads(body)["trials"]) == 6
