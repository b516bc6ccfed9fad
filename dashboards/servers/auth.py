"""Access control of the dashboards: a token, reading methods only, no pages of other sites.

Stands before the whole application, static files included, so that no route is forgotten.
Must not import torch.
"""

import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from dashboards.errors import DashboardError

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[str, str]]

READING_METHODS = ("GET", "HEAD")
TOKEN_FIELD = "token"
NEEDS_TOKEN = (
    "This page needs its token: open the address that `study dashboard` or `study tensorboard` "
    f"printed, which ends in ?{TOKEN_FIELD}=..., or send the header `Authorization: Bearer TOKEN`."
)
READ_ONLY = (
    "This dashboard is read-only: change a study with the `study` command, or start the dashboard "
    "with --writable."
)
OTHER_HOST = (
    "Without a token this page answers to names of its own machine only: open it as "
    "127.0.0.1, or start its server with --token."
)
NOT_WRITABLE = (
    "This would break data of the service: create, change and resume studies with "
    "the `study` command (init, fork, extend, worker). Here you can only change notes and "
    "delete studies."
)
NO_UTF8 = "The path of this address is not UTF-8."
NO_LOGIN = (
    "anyone who reaches this address can read the names of studies and hosts: there is no login"
)
# All else that optuna-dashboard writes is the service's own: names, trials and their states.
WRITABLE = re.compile(
    r"DELETE /api/studies/[0-9]{1,9}/*|PUT /api/studies/[0-9]{1,9}(/[0-9]{1,9})?/note/*"
)
OTHER_SITE = "A page of another site may not change anything here."
PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">{again}<title>{status}</title>'
    '<p>{reason}</p><p><a href="">Retry</a></p>'
)
# The browser keeps a cookie of SameSite=Strict back where a link of another site leads here, even
# after a redirect. What this page asks for has the cookie.
ASK_AGAIN = '<meta http-equiv="refresh" content="0">'
HEADERS: Headers = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Referrer-Policy", "same-origin"),
]
# optuna-dashboard lets the pages of every site read artifacts.
OPEN_TO_ALL = "access-control-allow-origin"


@dataclass(frozen=True)
class Access:
    """Conditions that a request must meet to reach the application.

    Attributes:
        token: The secret that every request must know; None: none is needed, for the address is
            one that only this machine reaches.
        writable: Whether requests may change notes and delete studies.
        reading_methods: Methods that change nothing in the application.

    Raises:
        DashboardError: If the token is empty.
    """

    token: str | None = None
    writable: bool = False
    reading_methods: tuple[str, ...] = READING_METHODS

    def __post_init__(self) -> None:
        if self.token == "":
            raise DashboardError("--token must not be empty: leave it out to have one made up")

    def knows(self, given: str) -> bool:
        """Return whether this is the token, in constant time."""
        return self.token is not None and hmac.compare_digest(_bytes(given), _bytes(self.token))

    @property
    def cookie(self) -> str:
        """The cookie's value: a digest, for a token may have characters that a cookie may not."""
        return hashlib.sha256(_bytes(self.token or "")).hexdigest()


def guard(app: WsgiApp, access: Access) -> WsgiApp:
    """Return an application that rejects what `access` does not allow.

    It answers 401 without the token, 405 to what would change a read-only dashboard or
    break a study, 403 to requests of other sites, and 400 to a path that is not UTF-8. The right
    token in an address becomes a cookie.
    """

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: Headers, *error: Any) -> Any:
            kept = [header for header in headers if header[0].lower() != OPEN_TO_ALL]
            return start_response(status, kept + HEADERS, *error)

        if not _is_utf8(environ["PATH_INFO"]):
            return reject(environ, start, "400 Bad Request", NO_UTF8)
        reads = environ["REQUEST_METHOD"] in access.reading_methods
        if access.token is None:
            if not is_of_this_machine(environ.get("HTTP_HOST")):
                return reject(environ, start, "403 Forbidden", OTHER_HOST)
        elif (given := dict(_query(environ)).get(TOKEN_FIELD)) is not None:
            if reads and access.knows(given):
                return _welcome(environ, start, access)
            return _reject_unknown(environ, start)
        elif not _is_known(environ, access):
            return _reject_unknown(environ, start)
        if not reads:
            allow = ("Allow", ", ".join(access.reading_methods))
            if not access.writable:
                return reject(environ, start, "405 Method Not Allowed", READ_ONLY, allow)
            if _is_of_another_site(environ):
                return reject(environ, start, "403 Forbidden", OTHER_SITE)
            if not WRITABLE.fullmatch(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"):
                return reject(environ, start, "405 Method Not Allowed", NOT_WRITABLE, allow)
        return app(environ, start)

    return guarded


def address_with_token(address: str, token: str | None) -> str:
    """Return what a browser is to open first."""
    return address if token is None else f"{address}?{TOKEN_FIELD}={quote(_bytes(token), safe='')}"


def is_loopback(address: str) -> bool:
    """Return whether an IP address is one that only this machine reaches."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_utf8(path: str) -> bool:
    """Return whether a path is read alike by all; WSGI hands out each byte as a character.

    Bottle leaves out the bytes that it cannot read, so it would see another path than its guards.
    """
    try:
        path.encode("latin-1").decode()
    except UnicodeError:
        return False
    return True


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _query(environ: dict[str, Any]) -> list[tuple[str, str]]:
    text = environ.get("QUERY_STRING", "")
    return parse_qsl(text, keep_blank_values=True, errors="surrogateescape")


def _is_known(environ: dict[str, Any], access: Access) -> bool:
    """Return whether a header of the request shows the token, or the cookie made of it."""
    scheme, _, bearer = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer" and access.knows(_header_text(bearer)):
        return True
    name = _cookie_name(environ)
    pairs = (pair.strip().partition("=") for pair in environ.get("HTTP_COOKIE", "").split(";"))
    return any(
        key == name and hmac.compare_digest(_bytes(value), _bytes(access.cookie))
        for key, _, value in pairs
    )


def _header_text(value: str) -> str:
    """Return a header as it was sent; WSGI hands out each of its bytes as a character."""
    return value.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _cookie_name(environ: dict[str, Any]) -> str:
    """Return a name of this port, since browsers share cookies among ports."""
    return f"study-dashboard-{environ['SERVER_PORT']}"


def _welcome(
    environ: dict[str, Any], start: Callable[..., Any], access: Access
) -> Iterable[bytes]:
    """Keep the token as a cookie and lead to the same address without it."""
    # One slash: two would lead to another machine.
    path = "/" + quote(environ.get("PATH_INFO", "").lstrip("/").encode("latin-1"))
    rest = [pair for pair in _query(environ) if pair[0] != TOKEN_FIELD]
    query = f"?{urlencode(rest, errors='surrogateescape')}" if rest else ""
    cookie = f"{_cookie_name(environ)}={access.cookie}; Path=/; HttpOnly; SameSite=Strict"
    headers = [("Location", path + query), ("Set-Cookie", cookie), ("Content-Length", "0")]
    start("303 See Other", [*headers, ("Cache-Control", "no-store")])
    return []


def _reject_unknown(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    challenge = ("WWW-Authenticate", 'Bearer realm="study dashboard"')
    return reject(environ, start, "401 Unauthorized", NEEDS_TOKEN, challenge)


def reject(
    environ: dict[str, Any],
    start: Callable[..., Any],
    status: str,
    reason: str,
    *headers: tuple[str, str],
) -> Iterable[bytes]:
    """Answer with a page, or with the JSON whose `reason` optuna-dashboard shows."""
    if environ.get("PATH_INFO", "").startswith("/api/"):
        kind, text = "application/json", json.dumps({"reason": reason})
    else:
        again = ASK_AGAIN if environ.get("HTTP_SEC_FETCH_SITE") == "cross-site" else ""
        page = PAGE.format(again=again, status=status, reason=escape(reason))
        kind, text = "text/html; charset=utf-8", page
    body = text.encode()
    sizes = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start(status, [*sizes, *headers, ("Cache-Control", "no-store")])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def is_of_this_machine(host: str | None) -> bool:
    """Return whether a Host header, where there is one, names this machine.

    Another site's name may be made to point to 127.0.0.1; its pages then ask for that name.
    """
    if host is None:
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)


def _is_of_another_site(environ: dict[str, Any]) -> bool:
    """Return whether a browser sends this for a page that does not come from here."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return False  # no browser
    return bool(origin.partition("://")[2] != environ.get("HTTP_HOST"))
