"""Values that a user gives: what they stand for, and whether a database stores them."""

import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

LARGEST_INTEGER = 2**63 - 1
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 200


def read_none(values: Mapping[str, Any], dotted_keys: Iterable[str]) -> None:
    """Take the text `none` for no value, as the table of settings writes it.

    Args:
        values: Changed in place.
        dotted_keys: Settings that may have no value.
    """
    for dotted_key in dotted_keys:
        *sections, key = dotted_key.split(".")
        inner: Any = values
        for section in sections:
            inner = inner.get(section) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and inner.get(key) == "none":
            inner[key] = None


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
