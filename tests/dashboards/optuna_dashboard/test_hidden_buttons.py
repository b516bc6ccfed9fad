"""Pages of optuna-dashboard without the buttons that could only fail."""

import pytest

from dashboards.optuna_dashboard.app import build_dashboard
from dashboards.optuna_dashboard.hidden_buttons import hide_buttons
from storage.study_storage import StudyStorage
from tests.tools.wsgi_client import ask

DELETE, CREATE = b'aria-label="delete study"', b"AddBoxIcon"


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/", "/dashboard/studies/1/trials"])
def test_read_only_page_hides_every_button_that_writes(
    empty_study: StudyStorage, path: str
) -> None:
    bare = build_dashboard(empty_study)
    status, headers, body = ask(hide_buttons(bare, writable=False), path)
    assert status == 200 and int(headers["Content-Length"]) == len(body)
    assert DELETE in body and CREATE in body and b"</head>" in body
    assert "style-src 'self' data: 'unsafe-inline'" in headers["Content-Security-Policy"]


def test_writable_page_keeps_what_works(empty_study: StudyStorage) -> None:
    body = ask(build_dashboard(empty_study), "/dashboard").body
    assert CREATE in body and DELETE not in body


def test_page_is_whole_for_a_browser_that_has_an_older_one(empty_study: StudyStorage) -> None:
    app = build_dashboard(empty_study)
    whole = ask(app, "/dashboard")
    for name, value in (
        ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("Range", "bytes=0-9"),
    ):
        answer = ask(app, "/dashboard", headers={name: value})
        assert (answer.status, answer.body) == (200, whole.body)
    head = ask(app, "/dashboard", "HEAD")
    assert head.body == b"" and head.headers["Content-Length"] == str(len(whole.body))


def test_what_is_no_page_is_left_alone(empty_study: StudyStorage) -> None:
    assert CREATE not in ask(build_dashboard(empty_study), "/api/studies").body
