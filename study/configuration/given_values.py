"""Values that a user gives: what they stand for, and whether a database stores them."""

import difflib
import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from study.errors import ConfigurationError

NONE = "none"
_AT_HOME = re.compile(r"((?:mlflow:)?(?:sqlite:///)?)(~.*)", flags=re.DOTALL)
LARGEST_INTEGER = 2**63 - 1
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 200


def read_names(kind: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with choices, and the lack of a value, as the settings spell them.

    Choices are understood in any case; `none`, `null` and `~` mean no value where there may be
    none.

    Args:
        kind: What the values are meant for.
        values: Not validated yet; unknown keys stay as they are.
    """
    fields = kind.model_fields
    return {
        key: read_name(fields[key].annotation, value) if key in fields else value
        for key, value in values.items()
    }


def read_name(annotation: Any, value: Any) -> Any:
    """Return the value of one setting, or of a section, as `read_names` does."""
    if isinstance(value, Mapping):
        model = next(find_models(annotation), None)
        return value if model is None else read_names(model, value)
    if value is not None and not isinstance(value, str):
        return value
    choices = find_choices(annotation)
    if names_nothing(value):
        if NoneType in get_args(annotation):
            return None
        return NONE if NONE in choices else value
    return next((choice for choice in choices if choice == str(value).casefold()), value)


def names_nothing(value: Any) -> bool:
    """Return whether a value stands for none."""
    return value is None or (isinstance(value, str) and value.casefold() in (NONE, "null", "~"))


def find_models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the kinds of section that an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from find_models(part)


def find_choices(annotation: Any) -> list[str]:
    """Return the names that an annotation allows, none where it is no choice."""
    if get_origin(annotation) is Literal:
        return [choice for choice in get_args(annotation) if isinstance(choice, str)]
    return [choice for part in get_args(annotation) for choice in find_choices(part)]


def suggest_near(given: str, names: Iterable[str], *, otherwise: str) -> str:
    """Return `did you mean NAME?` where a name is near, else what to do instead."""
    by_lower_case = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(given.casefold(), by_lower_case, n=1)
    return f"did you mean {by_lower_case[near[0]]}?" if near else otherwise


def expand_home(path: str) -> str:
    """Return a path with the home folder in the place of a leading `~` or `~user`.

    The file of a SQLite address, and the target of an export to MLflow, count too.

    Raises:
        ConfigurationError: If there is no such user, and no file of that name.
    """
    found = _AT_HOME.fullmatch(path)
    if found is None:
        return path
    before, given = found.groups()
    expanded = os.path.expanduser(given)
    if expanded == given and not os.path.lexists(given):
        user = given.partition("/")[0]
        raise ConfigurationError(
            f"a path that begins with ~ must lie in the home folder of a user, {user!r} is none: "
            f"write ./{given[:60]} for a name that begins with ~"
        )
    return f"{before}{expanded}"


def shown(value: Any) -> str:
    """Return a value for a message, shortened where it is long or deep."""
    return _repr.repr(value)


def find_unstorable(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the dotted key of a value that no database stores, and what it must be."""
    waiting: list[tuple[str, Any]] = [("", values)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{key}.{name}".lstrip("."), inner) for name, inner in value.items()]
        elif isinstance(value, list | tuple | set):
            waiting += [(key, inner) for inner in value]
        elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            return key, f"a number of at most {LARGEST_INTEGER}"
        elif isinstance(value, str | Path) and not _is_text(str(value)):
            return key, "text in UTF-8 without null characters"
    return None


def _is_text(text: str) -> bool:
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)
