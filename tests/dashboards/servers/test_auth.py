"""The guard before a dashboard: every route of the real application, and any token."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna_dashboard import wsgi

from dashboards.optuna_dashboard.app import build_dashboard
from dashboards.servers.auth import Access, address_with_token, guard
from storage.study_storage import StudyStorage
from storage.trial_rows import read_trials
from tests.tools.wsgi_client import Answer, ask, routes

TOKEN = "correct horse/battery+staple"
ACCESS = Access(token=TOKEN)
BEARER = {"Authorization": f"Bearer {TOKEN}"}
COOKIE_NAME = "study-dashboard-8080"
WRONG = {
    "no token": ("", {}),
    "wrong token in the address": ("token=wrong", {}),
    "wrong token in the address of one who has the cookie": (
        "token=wrong",
        {"Cookie": f"{COOKIE_NAME}={ACCESS.cookie}"},
    ),
    "empty token": ("token=", {"Authorization": "Bearer "}),
    "wrong bearer": ("", {"Authorization": "Bearer wrong"}),
    "another scheme": ("", {"Authorization": f"Basic {TOKEN}"}),
    "the token itself as cookie": ("", {"Cookie": f"{COOKIE_NAME}={TOKEN}"}),
    "the cookie of another port": ("", {"Cookie": f"study-dashboard-1={ACCESS.cookie}"}),
}

NOT_UTF8 = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
any_token = st.text(st.characters(exclude_categories=["Cs"]) | NOT_UTF8, min_size=1, max_size=20)
any_header = st.text(st.characters(max_codepoint=255), max_size=40)


def said(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """An application that says yes to everything."""
    start_response("200 OK", [("Access-Control-Allow-Origin", "*")])
    return [b"yes"]


def unreachable(_environ: dict[str, Any], _start_response: Any) -> list[bytes]:
    raise AssertionError("the application was called")


def routes_of(storage: StudyStorage) -> list[tuple[str, str]]:
    return routes(wsgi(optuna.storages.get_storage(storage)))


def test_every_route_of_the_application_is_known_and_some_write(
    searched_study: StudyStorage,
) -> None:
    found = routes_of(searched_study)
    methods = {method for method, _ in found}
    assert methods == {"GET", "POST", "PUT", "DELETE"}
    assert len(found) > 30 and not [path for _, path in found if "<" in path]


@pytest.mark.parametrize(("query", "headers"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("writable", [False, True])
def test_every_route_without_the_right_token_is_401_and_never_reached(
    searched_study: StudyStorage, query: str, headers: dict[str, str], writable: bool
) -> None:
    app = guard(unreachable, Access(TOKEN, writable))
    for method, path in routes_of(searched_study):
        answer = ask(app, path, method, query=query, headers=headers)
        assert answer.status == 401, (method, path)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert b"study dashboard" in answer.body and b"Bearer TOKEN" in answer.body
        assert "Set-Cookie" not in answer.headers


def test_every_reading_route_with_the_token_answers_as_without_a_guard(
    searched_study: StudyStorage,
) -> None:
    bare = build_dashboard(searched_study)
    app = guard(bare, ACCESS)
    statuses = set()
    for path in (path for method, path in routes_of(searched_study) if method == "GET"):
        expected = ask(bare, path)
        for method in ("GET", "HEAD"):
            answer = ask(app, path, method, headers=BEARER)
            assert answer.status == expected.status, path
        assert ask(app, path, headers=BEARER).body == expected.body
        statuses.add(expected.status)
    assert statuses == {200, 302, 400, 404}  # no artifact store; no such plot


@pytest.mark.parametrize("access", [Access(), ACCESS], ids=["on this machine", "with the token"])
def test_every_route_that_writes_is_405_and_changes_nothing(
    searched_study: StudyStorage, access: Access
) -> None:
    before = read_trials(searched_study, "pets")
    bare = build_dashboard(searched_study)
    paths = {path for _, path in routes_of(searched_study)}
    for path in paths:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = ask(guard(bare, access), path, method, headers=BEARER)
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD"), path
            assert b"read-only" in answer.body and b"\n" not in answer.body
    assert read_trials(searched_study, "pets") == before


def test_of_the_routes_that_write_only_those_that_break_nothing_are_reached(
    searched_study: StudyStorage,
) -> None:
    app = guard(said, Access(TOKEN, writable=True))
    reached = set()
    for method, path in routes_of(searched_study):
        answer = ask(app, path, method, headers=BEARER)
        assert answer.status == 200 or (method != "GET" and answer.status == 405), path
        if method != "GET" and answer.status == 200:
            reached.add((method, path))
        elif answer.status == 405:
            assert b"`study` command" in answer.body and b"\n" not in answer.body
    notes = {("PUT", "/api/studies/1/note"), ("PUT", "/api/studies/1/1/note")}
    assert reached == {("DELETE", "/api/studies/1"), *notes}


def test_writable_dashboard_deletes_a_study_with_all_that_is_kept_of_it(
    searched_study: StudyStorage,
) -> None:
    app = guard(build_dashboard(searched_study), Access(writable=True))
    busy = ask(app, "/api/studies/1", "DELETE")
    assert busy.status == 409 and "stop its workers" in json.loads(busy.body)["reason"]
    assert len(read_trials(searched_study, "pets")) == 6
    with searched_study.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE attempts SET beat_at = beat_at - 1000")
    assert b'"pets"' in ask(app, "/api/studies").body
    assert ask(app, "/api/studies/1", "DELETE").status == 204
    assert json.loads(ask(app, "/api/studies").body) == {"study_summaries": []}
    assert ask(app, "/api/studies/1", "DELETE").status == 404
    with searched_study.engine.begin() as connection:
        for table in ("protocols", "attempts", "epochs", "trials", "study_system_attributes"):
            assert not connection.exec_driver_sql(f"SELECT * FROM {table}").all(), table


def test_path_that_is_not_utf8_is_400() -> None:
    assert ask(guard(unreachable, Access()), "/artif\xffacts/1/ab").status == 400
    assert ask(guard(said, Access()), "/caf\xc3\xa9").status == 200


@given(any_token, st.sampled_from(["/", "/dashboard/studies/1", "/api/studies"]))
def test_right_token_of_an_address_becomes_a_cookie_that_is_let_in(token: str, path: str) -> None:
    app = guard(said, Access(token))
    query = urlsplit(address_with_token("http://node1:8080/", token)).query
    first = ask(app, path, query=f"after=3&{query}&of=a%26b")
    assert first.status == 303 and first.body == b""
    assert first.headers["Location"] == f"{path}?after=3&of=a%26b"
    cookie, *attributes = first.headers["Set-Cookie"].split("; ")
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict"]
    assert ask(app, path, headers={"Cookie": f"theme=dark; {cookie}"}).body == b"yes"
    assert ask(app, path).status == 401


@given(any_token)
def test_right_token_of_a_header_is_let_in(token: str) -> None:
    sent = token.encode("utf-8", "surrogateescape").decode("latin-1")
    answer = ask(guard(said, Access(token)), "/", headers={"Authorization": f"bearer {sent}"})
    assert answer.body == b"yes"


@given(any_token, any_token, any_header, any_header)
def test_anything_but_the_right_token_is_rejected(
    token: str, wrong: str, cookie: str, authorization: str
) -> None:
    app = guard(unreachable, Access(token))
    query = urlsplit(address_with_token("http://node1/", f"{wrong}x{token}")).query
    assert ask(app, "/", query=query).status == 401
    headers = {"Cookie": cookie, "Authorization": f"Digest {authorization}"}
    assert ask(app, "/", headers=headers).status == 401


@given(any_header.map(lambda text: f"/{text}".encode().decode("latin-1")))
def test_address_without_its_token_is_of_the_same_machine(path: str) -> None:
    answer = ask(guard(said, Access("secret")), path, query="token=secret")
    location = answer.headers["Location"]
    assert location.isascii() and location.isprintable() and "\\" not in location
    assert location.startswith("/") and not location.startswith("//")
    assert unquote(location, "latin-1").lstrip("/") == path.lstrip("/")


@given(st.text(max_size=12).filter(lambda method: method not in ("GET", "HEAD")))
def test_read_only_dashboard_asked_by_any_other_method_is_never_reached(method: str) -> None:
    assert ask(guard(unreachable, Access()), "/api/studies", method).status == 405


def test_token_of_an_address_that_writes_is_not_enough() -> None:
    app = guard(unreachable, Access("secret", writable=True))
    assert ask(app, "/api/studies", "POST", query="token=secret").status == 401


def of_other_site(**headers: str) -> Answer:
    app = guard(said, Access(TOKEN, writable=True))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(app, "/api/studies/1", "DELETE", headers=BEARER | named)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_page_of_another_site_changes_nothing(site: str) -> None:
    assert of_other_site(Sec_Fetch_Site=site).status == 403
    assert of_other_site(Origin="https://evil.example").status == 403
    assert of_other_site(Origin="http://127.0.0.1:9999").status == 403
    assert of_other_site(Origin="null").status == 403


def test_own_page_and_a_script_may_change_things() -> None:
    assert of_other_site(Sec_Fetch_Site="same-origin").status == 200
    assert of_other_site(Origin="http://127.0.0.1:8080").status == 200
    assert of_other_site().status == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080", "127.8.9.1"]
)
def test_names_of_this_machine_are_answered(host: str) -> None:
    assert ask(guard(said, Access()), "/", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil.example", "", "[", "[::1"],
)
def test_other_names_are_rejected_where_there_is_no_token(host: str) -> None:
    assert ask(guard(unreachable, Access()), "/", headers={"Host": host}).status == 403
    assert ask(guard(said, ACCESS), "/", headers=BEARER | {"Host": host}).status == 200


@given(any_header)
def test_host_of_any_text_is_no_error(host: str) -> None:
    assert ask(guard(said, Access()), "/", headers={"Host": host}).status in (200, 403)


def test_no_answer_is_open_to_the_pages_of_other_sites() -> None:
    answer = ask(guard(said, Access()), "/artifacts/1/1")
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_rejection_repeats_nothing_of_the_request() -> None:
    evil = "<script>alert(1)</script>"
    headers = {"Host": evil, "Cookie": evil, "Authorization": evil}
    for access in (Access(), ACCESS):
        answer = ask(guard(unreachable, access), f"/{evil}", query=evil, headers=headers)
        assert b"<script" not in answer.body
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_rejection_to_the_page_is_json_that_it_can_show() -> None:
    answer = ask(guard(unreachable, ACCESS), "/api/studies")
    assert "needs its token" in json.loads(answer.body)["reason"]
    assert ask(guard(unreachable, ACCESS), "/api/studies", "HEAD").body == b""


def test_link_of_another_site_is_asked_again_by_the_page_itself() -> None:
    app = guard(unreachable, ACCESS)
    assert b"refresh" in ask(app, "/", headers={"Sec-Fetch-Site": "cross-site"}).body
    assert b"refresh" not in ask(app, "/", headers={"Sec-Fetch-Site": "same-origin"}).body
    assert b"refresh" not in ask(app, "/").body
