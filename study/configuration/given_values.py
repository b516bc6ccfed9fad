"""Values that a user gives: YAML of limited size and depth, and only what a database stores."""

import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from study.errors import ConfigurationError

MOST_CHARACTERS = 1_000_000
MOST_VALUES = 100_000
"""With aliases followed: nine lines of nine aliases each are 400 million values."""
MOST_LEVELS = 32
LARGEST_INTEGER = 2**63 - 1
# libyaml's is fifty times as fast; not every build of PyYAML has it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 200


def read_yaml_file(file: Path, where: str) -> Any:
    """Return the values of a file.

    Raises:
        ConfigurationError: If it cannot be read, is no YAML, or is too large.
    """
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(MOST_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise ConfigurationError(f"{where} cannot be read ({reason}): check the path") from None
    return parse_yaml(text, where)


def parse_yaml(text: str, where: str) -> Any:
    """Return the values of a text.

    Args:
        text: One document.
        where: What gives it, for messages.

    Raises:
        ConfigurationError: If it is no YAML, or too large or deep.
    """
    if len(text) > MOST_CHARACTERS:
        raise ConfigurationError(
            f"{where} must have at most {MOST_CHARACTERS} characters: shorten it"
        )
    try:
        _validate_extent(text, where)
        return yaml.load(text, Loader=_Loader)
    except ConfigurationError:
        raise
    except Exception as error:  # PyYAML lets the errors of dates and tagged values through
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{where} must be YAML ({reason}): check the syntax") from None


def _validate_extent(text: str, where: str) -> None:
    """Reject too many values or levels, before any is built."""
    extents: dict[str, tuple[int, int]] = {}  # values and levels by anchor
    open_nodes: list[tuple[str | None, int, int]] = [(None, 0, 0)]
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1, 1))
            if len(open_nodes) > MOST_LEVELS:
                raise ConfigurationError(
                    f"{where} must have at most {MOST_LEVELS} levels: flatten it"
                )
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, n_values, n_levels = open_nodes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, n_values, n_levels = event.anchor, 1, 1
        elif isinstance(event, yaml.AliasEvent):
            anchor = None
            if event.anchor in {name for name, *_ in open_nodes}:
                raise ConfigurationError(f"{where}: *{event.anchor} must not hold itself")
            n_values, n_levels = extents.get(event.anchor or "", (1, 1))
        else:
            continue
        if anchor is not None:
            extents[anchor] = (n_values, n_levels)
        outer, n_outer, n_outer_levels = open_nodes[-1]
        open_nodes[-1] = (outer, n_outer + n_values, max(n_outer_levels, n_levels + 1))
        if open_nodes[-1][1] > MOST_VALUES or open_nodes[-1][2] > MOST_LEVELS:
            raise ConfigurationError(
                f"{where} must have at most {MOST_VALUES} values in {MOST_LEVELS} levels, "
                "aliases followed: shorten it"
            )


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
