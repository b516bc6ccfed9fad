"""Proper answers to bad requests, which optuna-dashboard reports as errors of the server.

Must not import torch.
"""

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from bottle import Bottle, request, response
from optuna.storages import BaseStorage

from dashboards.servers.auth import WsgiApp, reject
from storage.database import is_transient

NO_SUCH = "there is no such study or trial"
NOT_UNDERSTOOD = "the request has a value of a wrong type"
NOT_UTF8 = "a header or a value of the request is not UTF-8"
NO_NOTE = 'a note must be JSON such as {"version": 1, "body": "text"}'
NO_PLOTLY = "plots by plotly need its package, which is not installed"
AWAY = "the database does not answer: retry later"
BROKEN = "the server failed: its log says why"
INPUT_ERRORS = (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError)

logger = logging.getLogger(__name__)


class BadRequestError(ValueError):
    """A request is at fault; the message says how."""


def raise_errors(app: Bottle, storage: BaseStorage) -> None:
    """Let each route raise what went wrong, and check notes before a half of one is stored."""
    app.catchall = False
    for route in app.routes:
        view = inspect.unwrap(route.callback)
        if view is not route.callback:  # its answer is JSON, and its errors have no reason
            route.callback = _raising(view, storage, is_note=route.rule.endswith("/note"))


def _raising(
    view: Callable[..., Any], storage: BaseStorage, *, is_note: bool
) -> Callable[..., Any]:
    def raising(**parts: Any) -> Any:
        if is_note:
            _check_note(storage, **parts)
        response.content_type = "application/json"
        return view(**parts)

    return raising


def _check_note(storage: BaseStorage, study_id: int, trial_id: int | None = None) -> None:
    """Check what is to be stored as a note, of which optuna-dashboard would store a half.

    Raises:
        BadRequestError: If it is none.
        KeyError: If there is no such study, or no such trial in it.
    """
    note = request.json
    is_note = isinstance(note, dict) and isinstance(note.get("body"), str)
    if not is_note or type(note.get("version")) is not int:
        raise BadRequestError(NO_NOTE)
    trials = storage.get_all_trials(study_id, deepcopy=False)
    if trial_id is not None and trial_id not in {trial._trial_id for trial in trials}:
        raise KeyError(trial_id)


def explain_errors(app: WsgiApp) -> WsgiApp:
    """Return an application that answers an exception with status and reason, and logs a line.

    Args:
        app: Raises what went wrong.
    """

    def explained(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        environ.setdefault("HTTP_ACCEPT_ENCODING", "identity")  # optuna-dashboard requires it
        try:
            return app(environ, start)
        except Exception as error:
            has_input = environ.get("QUERY_STRING") or environ.get("CONTENT_LENGTH", "0") != "0"
            status, reason = _explain(error, has_input=bool(has_input))
            if status.startswith("5"):
                asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
                line = str(error).partition("\n")[0]
                defect = error if reason == BROKEN else None
                logger.error("%r: %s: %s", asked, type(error).__name__, line, exc_info=defect)
            return reject(environ, start, status, reason)

    return explained


def _explain(error: Exception, *, has_input: bool) -> tuple[str, str]:
    """Return status and reason of what a request was answered with."""
    if is_transient(error):
        return "503 Service Unavailable", AWAY
    if isinstance(error, (KeyError, OverflowError)):  # an id, or one too large for the database
        return "404 Not Found", NO_SUCH
    if isinstance(error, BadRequestError):
        return "400 Bad Request", str(error)
    if isinstance(error, UnicodeError):
        return "400 Bad Request", NOT_UTF8
    if isinstance(error, INPUT_ERRORS) and has_input:
        return "400 Bad Request", NOT_UNDERSTOOD
    if isinstance(error, ImportError):
        return "501 Not Implemented", NO_PLOTLY
    return "500 Internal Server Error", BROKEN
