from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.engine import make_url

from storage.addresses import existing_url, parse_url, shown
from storage.configuration import shown_url
from storage.errors import StorageError

SECRETS = {
    "postgresql+psycopg://me:hunter2@host:5432/name": "://me:***@host:5432/name",
    "postgresql+psycopg://me:hun@ter2@host/name": "://me:***@host/name",
    "postgresql+psycopg://me:hun/@ter2@host/name": "://me:***@host/name",
    "postgresql+psycopg://me:hunter2@@host/name?x=y": "://me:***@host/name?x=y",
    "postgresql+psycopg://me:hun?ter2@host/name": "://me:***@host/name",
    "postgresql+psycopg://me:@hun:ter2@host:5/name": "://me:***@host:5/name",
    "postgresql+psycopg://me@host/name?password=hunter2": "://me@host/name?password=***",
    "postgresql+psycopg://host/name?x=y&password=hun@ter2&z=1": "?x=y&password=***&z=1",
    "postgresql+psycopg://host/name?sslkey=a&sslpassword=hunter2": "sslkey=a&sslpassword=***",
    "postgresql+psycopg://host/name?PASSWORD=hunter2": "PASSWORD=***",
    "mysql://me:hunter2@host/name": "mysql://me:***@host/name",
    "postgresql//me:hunter2@host/name": "postgresql//me:***@host/name",
    "me:hunter2@host/name": "me:***@host/name",
    "postgresql:me:hunter2@host/name": "postgresql:***@host/name",
}
OPEN = [
    "sqlite:///runs/study.db",
    "sqlite:///C:/a@b/study.db",
    "postgresql+psycopg://me@host/name?application_name=mine",
    "postgresql+psycopg://me@host:5432/name",
    "nonsense",
]


@pytest.mark.parametrize(("url", "seen"), SECRETS.items())
def test_address_is_shown_without_its_secrets(url: str, seen: str) -> None:
    assert shown_url(url).endswith(seen)
    assert not any(part in shown_url(url) for part in ("hun", "ter2"))


@pytest.mark.parametrize("url", OPEN)
def test_address_without_secrets_is_shown_as_it_is(url: str) -> None:
    assert shown_url(url) == url


@pytest.mark.parametrize("url", SECRETS)
def test_parsed_or_rejected_address_never_shows_a_secret(url: str) -> None:
    try:
        parsed = parse_url(url)
    except StorageError as rejected:
        texts = [str(rejected)]
    else:
        texts = [shown(parsed)]
        if "sslpassword" not in url and "PASSWORD" not in url:
            texts += [repr(parsed), repr(sqlalchemy.create_engine(parsed))]
    for text in texts:
        assert not any(part in text for part in ("hun", "ter2")), text


@pytest.mark.parametrize("secret", ["hun@ter2", "hun/@ter2", "hunter2@", "@hun:ter2"])
def test_password_that_is_not_encoded_is_rejected_with_the_encoding(secret: str) -> None:
    with pytest.raises(StorageError, match="percent-encoded .@ is %40"):
        parse_url(f"postgresql+psycopg://me:{secret}@host/name")


def test_encoded_password_and_password_of_the_query_reach_the_driver() -> None:
    encoded = parse_url("postgresql+psycopg://me:p%40%2Fss@host/name")
    of_query = parse_url("postgresql+psycopg://me@host/name?password=p%40%2Fss&sslmode=require")
    assert encoded.password == of_query.password == "p@/ss"
    assert of_query.query == {"sslmode": "require"}


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("nonsense", "must be a database URL"),
        ("mysql://host/name", "SQLite or PostgreSQL"),
        ("postgresql://host/name", "SQLite or PostgreSQL through psycopg"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
    ],
)
def test_parse_url_of_another_kind_is_rejected(url: str, hint: str) -> None:
    with pytest.raises(StorageError, match=hint):
        parse_url(url)


def test_existing_url_survives_braces_and_spaces(tmp_path: Path) -> None:
    odd = tmp_path / "a {b} c"
    text = existing_url(make_url(f"sqlite:///{odd}/study.db"))
    assert "{" not in text and " " not in text
    assert text.endswith("?mode=rw&uri=true")
