"""Requests that nothing sensible sends: whose fault each is, and that no half of one is kept."""

import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna_dashboard import wsgi
from optuna_dashboard._note import get_note_from_system_attrs
from sqlalchemy.exc import OperationalError

from dashboards.optuna_dashboard.app import build_dashboard
from dashboards.optuna_dashboard.artifacts import RunFiles
from dashboards.optuna_dashboard.error_pages import explain_errors
from dashboards.servers.auth import Access, WsgiApp, guard
from storage.study_storage import StudyStorage
from tests.tools.wsgi_client import Answer, ask, routes

ODD_HEADERS = ("", "\x80", "bytes=", "bytes=-", "bytes=9-1", "gzip;q=x", ",", "\x00", "x" * 999)
IDS = (*"012x", "99", "-1", "9" * 9, "9" * 30, "9" * 5000, "%00", "\x00", "é", "1e3")
DEEP = "[" * 100_000
NOTES = "/api/studies/1/note", "/api/studies/1/1/note"
BODIES = (
    *("", "[]", "{", "null", "5", '"text"', "{}", DEEP, "\xff", "\x00"),
    '{"version": 1}',
    '{"body": "x"}',
    *(f'{{"version": {version}, "body": "x"}}' for version in ('"1"', "true", "NaN", "null")),
    *(f'{{"version": 1, "body": {body}}}' for body in ("5", "[]", "{}", "null", "true")),
)
QUERIES = ("after=x", "after=-1", "after=", "after=1e9", "after=%ff", "trial_ids=x,", "after=\xff")
TYPES = ("application/json", "application/json; charset=\xff", "text/plain", "", "x" * 500)


@pytest.fixture
def app(searched_study: StudyStorage, tmp_path: Path) -> WsgiApp:
    return guard(build_dashboard(searched_study, RunFiles(tmp_path)), Access(writable=True))


def send(app: WsgiApp, path: str, method: str, body: str, kind: str = TYPES[0]) -> Answer:
    """Ask with a body, each byte as a character."""
    sent = body.encode("latin-1")

    def asked(environ: dict[str, Any], start: Any) -> Any:
        length = {"CONTENT_LENGTH": str(len(sent)), "CONTENT_TYPE": kind}
        return app(environ | length | {"wsgi.input": io.BytesIO(sent)}, start)

    return ask(asked, path, method)


def test_no_route_takes_a_malformed_request_for_an_error_of_its_own(
    searched_study: StudyStorage, app: WsgiApp
) -> None:
    found = {
        (method, route.replace("1", part))
        for method, route in routes(wsgi(optuna.storages.get_storage(searched_study)))
        for part in IDS
    }
    for method, path in sorted(found):
        sent = path.encode().decode("latin-1")
        asked = [(sent, query) for query in ("", *QUERIES)] if method == "GET" else [(sent, "")]
        for address, query in asked:
            assert ask(app, address, method, query=query).status < 500, (method, path, query)
        if method != "GET":
            for body in BODIES:
                assert send(app, sent, method, body).status < 500, (method, path, body[:20])


@pytest.mark.parametrize("path", NOTES)
def test_what_is_no_note_is_rejected_and_no_half_of_it_is_kept(
    searched_study: StudyStorage, app: WsgiApp, path: str
) -> None:
    before = searched_study.get_study_system_attrs(1)
    for kind in TYPES:
        for body in BODIES:
            answer = send(app, path, "PUT", body, kind)
            assert answer.status == 400, (body[:20], kind)
            if kind == TYPES[0] and body[:1] == "{" and body != "{":
                assert json.loads(answer.body)["reason"].startswith("a note must be JSON such as")
    assert searched_study.get_study_system_attrs(1) == before
    assert send(app, path, "PUT", '{"version": 1, "body": "x"}').status == 204
    assert send(app, path, "PUT", '{"version": 1, "body": "y"}').status == 409


@pytest.mark.parametrize("path", ["/api/studies/7/note", "/api/studies/7/1/note"])
def test_note_of_an_unknown_study_or_trial_is_404(
    searched_study: StudyStorage, app: WsgiApp, path: str
) -> None:
    other = optuna.create_study(study_name="cats", storage=searched_study)._study_id
    for asked in (path, "/api/studies/1/99/note", f"/api/studies/{other}/1/note"):
        answer = send(app, asked, "PUT", '{"version": 1, "body": "x"}')
        assert answer.status == 404
        assert json.loads(answer.body) == {"reason": "there is no such study or trial"}
    attributes = searched_study.get_study_system_attrs(other)
    assert get_note_from_system_attrs(attributes, 1)["version"] == 0


# Bottle leaves the file to the garbage collector where a range is none.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_static_files_need_no_header_and_bear_odd_ones(app: WsgiApp) -> None:
    def bare(environ: dict[str, Any], start: Any) -> Any:
        return app({k: v for k, v in environ.items() if k != "HTTP_ACCEPT_ENCODING"}, start)

    for path in ("/static/bundle.js.LICENSE.txt", "/favicon.ico", "/dashboard"):
        assert ask(bare, path).status == 200
        for name in ("Accept-Encoding", "Range", "If-Modified-Since", "If-None-Match"):
            for header in ODD_HEADERS:
                assert ask(app, path, headers={name: header}).status < 500, (name, header)


def test_plot_without_plotly_says_so(app: WsgiApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    answer = ask(app, "/api/studies/1/plot/contour")
    assert answer.status == 501 and b"plotly" in answer.body


def test_database_that_is_away_is_503_and_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away(_environ: dict[str, Any], _start: Any) -> Any:
        raise OperationalError("SELECT 1", None, Exception("connection refused\nby the host"))

    answer = ask(explain_errors(away), "/api/studies")
    assert answer.status == 503 and b"does not answer" in answer.body
    (line,) = [record.getMessage() for record in caplog.records]
    assert "GET /api/studies" in line and "connection refused" in line and "\n" not in line


def test_defect_of_the_server_is_500_whatever_its_type(caplog: pytest.LogCaptureFixture) -> None:
    for error in (TypeError("a defect"), RuntimeError("a defect")):

        def broken(_environ: dict[str, Any], _start: Any, error: Exception = error) -> Any:
            raise error

        with caplog.at_level(logging.ERROR):
            assert ask(explain_errors(broken), "/api/studies").status == 500
        assert "a defect" in caplog.text
