"""Database addresses: what is accepted, how they are opened, and how they are shown."""

from pathlib import Path
from urllib.parse import quote

from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from storage.configuration import shown_url
from storage.errors import StorageError
from storage.file_systems import reject_network_file_system

REMEDY = "use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
ENCODING = ", with every @ : / ? % of user and password percent-encoded (@ is %40, / is %2F)"


def parse_url(text: str) -> URL:
    """Check a database address.

    Args:
        text: What the user gave as `storage.url`.

    Returns:
        The parsed URL; a password that its query had is where SQLAlchemy hides it.

    Raises:
        StorageError: If it is no URL, of another database, or SQLite on a network file system.
    """
    shown = shown_url(text)
    try:
        url = make_url(text)
        has_loose_sign = url.password is not None and text.count("@") > 1
    except (exc.ArgumentError, ValueError):
        has_loose_sign = True
    if has_loose_sign:
        how = REMEDY + (ENCODING if "@" in text else "")
        raise StorageError(f"storage.url must be a database URL, got {shown!r}: {how}")
    if url.drivername == "sqlite":
        if not url.database or url.database == ":memory:":
            raise StorageError(f"storage.url must name a file, got {shown!r}: {REMEDY}")
        reject_network_file_system(sqlite_path(url))
    elif url.drivername != "postgresql+psycopg":
        raise StorageError(
            f"storage.url must be SQLite or PostgreSQL through psycopg, got {shown!r}: {REMEDY}"
        )
    password = url.query.get("password")
    if isinstance(password, str):
        url = url.difference_update_query(["password"]).set(password=password)
    return url


def shown(url: URL) -> str:
    """Return an address without its secrets."""
    return shown_url(url.render_as_string(hide_password=True))


def sqlite_path(url: URL) -> Path:
    """Return the absolute path of a SQLite address."""
    return Path(url.database or "").absolute()


def existing_url(url: URL) -> str:
    """Return the address in a form that never creates a missing SQLite file.

    Braces are percent-encoded, for Optuna applies `str.format` to its URL.
    """
    if url.drivername != "sqlite":
        return url.render_as_string(hide_password=False).replace("{", "%7B").replace("}", "%7D")
    return f"sqlite:///file:{quote(str(sqlite_path(url)))}?mode=rw&uri=true"
