"""optuna-dashboard over its WSGI interface, in process."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPCookieProcessor, build_opener

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna_dashboard import wsgi

from dashboards.errors import DashboardError
from dashboards.optuna_dashboard.app import build_dashboard, serve_dashboard
from dashboards.servers.auth import Access, guard
from dashboards.servers.sockets import listen
from dashboards.servers.web_server import SETTINGS
from storage.addresses import parse_url
from storage.errors import DatabaseRejectionError
from storage.study_storage import StudyStorage, open_study_storage
from tests.postgresql import requires_postgresql, running_server
from tests.tools.forked_server import forked
from tests.tools.write_lock import write_lock_held
from tests.tools.wsgi_client import ask, routes


def test_dashboard_of_a_study_shows_it_with_its_trials(searched_study: StudyStorage) -> None:
    app = guard(build_dashboard(searched_study), Access())
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


@pytest.fixture
def reader(searched_file: Path) -> Iterator[StudyStorage]:
    opened = open_study_storage(f"sqlite:///{searched_file}", outage_seconds=1, read_only=True)
    yield opened
    opened.engine.dispose()


def test_dashboard_answers_every_reading_route_while_another_holds_the_write_lock(
    searched_file: Path, reader: StudyStorage
) -> None:
    app = build_dashboard(reader)
    with write_lock_held(searched_file):
        start = time.monotonic()
        for path in (
            path
            for method, path in routes(wsgi(optuna.storages.get_storage(reader)))
            if method == "GET"
        ):
            assert ask(app, path).status < 500, path
        assert time.monotonic() - start < 20  # a writer waits a minute for the lock


def test_database_of_a_dashboard_that_reads_rejects_to_be_written(
    searched_file: Path, reader: StudyStorage
) -> None:
    before = searched_file.read_bytes()
    app = build_dashboard(reader)
    for method, path in routes(wsgi(optuna.storages.get_storage(reader))):
        ask(app, path, method)
    with pytest.raises(DatabaseRejectionError):
        reader.set_study_user_attr(1, "name", "value")
    assert searched_file.read_bytes() == before
    assert b'"pets"' in ask(app, "/api/studies").body


def test_opening_a_missing_database_to_read_makes_none(tmp_path: Path) -> None:
    missing = f"sqlite:///{tmp_path}/none.db"
    with pytest.raises(StorageInternalError):
        StudyStorage(parse_url(missing), outage_seconds=0, read_only=True)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@requires_postgresql
def test_postgresql_of_a_dashboard_that_reads_rejects_to_be_written() -> None:
    with running_server() as url:
        written = StudyStorage(parse_url(url), outage_seconds=5, create=True)
        optuna.create_study(study_name="pets", storage=written)
        written.engine.dispose()
        reader = StudyStorage(parse_url(url), outage_seconds=0, read_only=True)
        assert [one.study_name for one in reader.get_all_studies()] == ["pets"]
        with pytest.raises(DatabaseRejectionError):
            reader.set_study_user_attr(1, "name", "value")
        assert reader.get_study_user_attrs(1) == {}
        reader.engine.dispose()


def unused(_environ: dict[str, Any], _start_response: Any) -> list[bytes]:
    return []


@pytest.mark.parametrize("host", ["no.such.host.invalid", "", "127.0.0.1.evil.invalid", "a" * 70])
def test_serve_dashboard_at_no_address_is_rejected(host: str) -> None:
    with pytest.raises(DashboardError, match="--host must be an address") as rejection:
        serve_dashboard(unused, host=host, port=8080)
    assert repr(host) in str(rejection.value)


def test_serve_dashboard_at_the_address_of_another_machine_is_rejected() -> None:
    with pytest.raises(DashboardError, match="192.0.2.1 and 8080 cannot be had"):
        serve_dashboard(unused, host="192.0.2.1", port=8080)


def test_serve_dashboard_with_an_empty_token_is_rejected() -> None:
    with pytest.raises(DashboardError, match="--token must not be empty"):
        serve_dashboard(unused, host="127.0.0.1", port=0, token="")


def test_serve_dashboard_on_taken_port_is_rejected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DashboardError, match=f"127.0.0.1 and {port} cannot be had"):
            serve_dashboard(unused, host="localhost", port=port)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_all_addresses_of_ipv6_are_those_of_ipv4_too() -> None:
    with listen("::", 0) as listening:
        port = listening.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), timeout=5).close()


def serve_yes() -> None:
    """Serve an application that says yes to everything beyond loopback."""

    def yes(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"yes"]

    serve_dashboard(yes, host="0.0.0.0", port=0)


@pytest.fixture
def printed() -> Iterator[IO[str]]:
    """What that server prints."""
    with forked(serve_yes) as lines:
        yield lines


def test_serve_dashboard_beyond_loopback_makes_a_token_up_and_prints_it_once(
    printed: IO[str],
) -> None:
    url = urlsplit(printed.readline().split()[2])
    token = url.query.removeprefix("token=")
    assert len(token) >= 40
    address = f"http://127.0.0.1:{url.port}/"
    opener = build_opener(HTTPCookieProcessor())
    with pytest.raises(HTTPError) as rejection:
        opener.open(address)
    assert rejection.value.code == 401
    rejection.value.close()
    with socket.create_connection(("127.0.0.1", url.port), timeout=5) as asking:
        # No byte of the body is waited for.
        too_large = SETTINGS["max_request_body_size"]
        asking.sendall(f"POST / HTTP/1.1\r\nContent-Length: {too_large}\r\n\r\n".encode())
        assert asking.recv(100).startswith(b"HTTP/1.1 413")
    with opener.open(f"{address}?token={token}") as answer:
        assert answer.url == address and answer.read() == b"yes"
    with opener.open(address) as answer:
        assert answer.read() == b"yes"
