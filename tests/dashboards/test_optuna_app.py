"""optuna-dashboard over its WSGI interface, in process."""

import io
import re
import socket
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna_dashboard import wsgi

from dashboards.errors import DashboardError
from dashboards.optuna_app import WsgiApp, build_dashboard, read_only, serve_dashboard
from dashboards.trials import read_trials
from storage.study_storage import StudyStorage


def ask(app: WsgiApp, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    answer: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
        answer.update(status=int(status.split()[0]), headers=dict(headers))

    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "HTTP_ACCEPT_ENCODING": "identity",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": "0",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
    }
    chunks = app(environ, start_response)
    try:
        return answer["status"], answer["headers"], b"".join(chunks)
    finally:
        getattr(chunks, "close", lambda: None)()


def test_dashboard_of_a_study_shows_it_with_its_trials(searched_study: StudyStorage) -> None:
    app = build_dashboard(searched_study)
    status, _, body = ask(app, "/api/studies")
    assert status == 200 and b'"pets"' in body
    status, _, body = ask(app, "/api/studies/1")
    assert status == 200 and body.count(b'"trial_id"') >= 6
    status, headers, _ = ask(app, "/dashboard")
    assert status == 200 and "default-src 'self'" in headers["Content-Security-Policy"]


def test_dashboard_asked_again_shows_what_changed_meanwhile(empty_study: StudyStorage) -> None:
    app = build_dashboard(empty_study)
    assert b"cats" not in ask(app, "/api/studies")[2]
    optuna.create_study(study_name="cats", storage=empty_study)
    assert b"cats" in ask(app, "/api/studies")[2]


def test_dashboard_refuses_every_route_that_writes(searched_study: StudyStorage) -> None:
    before = read_trials(searched_study, "pets")
    app = build_dashboard(searched_study)
    routes = wsgi(searched_study).routes
    writing = [route for route in routes if route.method != "GET"]
    assert len(writing) >= 10
    for route in writing:
        path = re.sub(r"<[^>]*>", "1", route.rule)
        status, headers, body = ask(app, path, route.method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD"), route.rule
        assert b"read-only" in body and b"\n" not in body
    assert read_trials(searched_study, "pets") == before


def test_dashboard_answers_each_parameterless_reading_route(searched_study: StudyStorage) -> None:
    app = build_dashboard(searched_study)
    reading = [route.rule for route in wsgi(searched_study).routes if route.method == "GET"]
    for rule in (rule for rule in reading if "<" not in rule):
        assert ask(app, rule)[0] in (200, 302), rule


@given(st.text(max_size=12).filter(lambda method: method not in ("GET", "HEAD")))
def test_read_only_of_any_other_method_never_reaches_the_application(method: str) -> None:
    def unreachable(_environ: dict[str, Any], _start_response: Any) -> list[bytes]:
        raise AssertionError("the application was called")

    assert ask(read_only(unreachable), "/api/studies", method)[0] == 405


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.7", "8.8.8.8", "node1", "", "127.0.0.1.evil.org"]
)
def test_serve_dashboard_beyond_loopback_is_refused_with_remedy(host: str) -> None:
    def unused(_environ: dict[str, Any], _start_response: Any) -> list[bytes]:
        return []

    with pytest.raises(DashboardError, match="ssh -L 8080:127.0.0.1:8080") as refusal:
        serve_dashboard(unused, host=host, port=8080)
    assert repr(host) in str(refusal.value)


def test_serve_dashboard_on_taken_port_is_refused() -> None:
    def unused(_environ: dict[str, Any], _start_response: Any) -> list[bytes]:
        return []

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DashboardError, match=f"{port} on 127.0.0.1 cannot be had"):
            serve_dashboard(unused, host="localhost", port=port)
