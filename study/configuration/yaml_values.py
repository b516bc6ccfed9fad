"""YAML by the core rules of version 1.2, which say less than those of 1.1: no sexagesimal `1:30`,
no octal `010`, `yes` and `on` are texts, and `1e-3` is a number.

PyYAML reads the syntax only. Each text has a limited size and depth, and no key twice.
"""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from study.errors import ConfigurationError

MOST_CHARACTERS = 1_000_000
MOST_BYTES_OF_A_CHARACTER = 4
MOST_VALUES = 100_000
"""With aliases followed: nine lines of nine aliases each are 400 million values."""
MOST_LEVELS = 32
END_OF_DOCUMENT = "...\n"
# libyaml's is fifty times as fast; not every build of PyYAML has it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], int | float]], ...] = (
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda text: float(text[1:])),
)
_PREFIX = "tag:yaml.org,2002:"
_KINDS: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
}


def read_yaml_file(file: Path, where: str) -> Any:
    """Return the values of a file in UTF-8, with or without a byte order mark.

    Raises:
        ConfigurationError: If it cannot be read, is no text or YAML, or is too large.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_CHARACTERS * MOST_BYTES_OF_A_CHARACTER + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path"
        raise ConfigurationError(f"{where} cannot be read ({reason}): check the path") from None
    if len(content) > MOST_CHARACTERS * MOST_BYTES_OF_A_CHARACTER:
        raise _too_long(where)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigurationError(
            f"{where} must be text in UTF-8, line {line} is not: save it as UTF-8"
        ) from None
    return parse_yaml(text, where)


def _too_long(where: str) -> ConfigurationError:
    return ConfigurationError(
        f"{where} must have at most {MOST_CHARACTERS} characters: shorten it"
    )


def parse_yaml(text: str, where: str) -> Any:
    """Return the values of a text; every key is a text.

    Args:
        text: One document.
        where: What gives it, for messages.

    Raises:
        ConfigurationError: If it is no YAML, has a key twice, or is too large or deep. The message
            names the line.
    """
    if len(text) > MOST_CHARACTERS:
        raise _too_long(where)
    try:
        _validate_extent(text, where)
        return _Document(text, where).read()
    except yaml.YAMLError as error:
        reason, remedy = _reason(error, text)
        raise ConfigurationError(f"{where} must be YAML ({reason}): {remedy}") from None


def parse_assigned(value: str, where: str) -> Any:
    """Return the value of `key=value`: what it means in the line `key: value` of a file.

    Raises:
        ConfigurationError: If it is no YAML, or more than one value.
    """
    found = parse_yaml(f"value: {value}", where)
    if not isinstance(found, dict) or list(found) != ["value"]:
        raise ConfigurationError(f"{where} must be one value in one line: quote it")
    return found["value"]


def dump_yaml(values: Any) -> str:
    """Return plain values as text that gives them again, by the rules of YAML 1.1 too."""
    text: str = yaml.dump(values, Dumper=YamlDumper, sort_keys=False)
    return text


def dump_assigned(value: Any) -> str:
    """Return a plain value as `--set key=value` takes it, in one line."""
    escaped = '"' if isinstance(value, str) and not value.isprintable() else None
    text: str = yaml.dump(
        value,
        Dumper=YamlDumper,
        default_style=escaped,
        default_flow_style=True,
        width=math.inf,
        allow_unicode=True,
        sort_keys=False,
    )
    # YAML ends a bare scalar with a line of dots.
    return text.removesuffix(END_OF_DOCUMENT).rstrip()


class YamlDumper(yaml.SafeDumper):
    """Quotes also the texts that only YAML 1.2 takes for a number."""


def _represent_text(dumper: YamlDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        f"{_PREFIX}str", text, style=None if _number_reader(text) is None else "'"
    )


YamlDumper.add_representer(str, _represent_text)


def _number_reader(text: str) -> Callable[[str], int | float] | None:
    return next((read for pattern, read in _NUMBERS if pattern.fullmatch(text)), None)


def _read_plain(text: str) -> Any:
    """Return what a text without quotes means."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    read = _number_reader(text)
    return text if read is None else read(text)


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


class _Document:
    """Builds the values of one text from its events."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._anchored: dict[str, Any] = {}

    def read(self) -> Any:
        for event in self._events:
            if isinstance(event, yaml.NodeEvent):
                found = self._value(event)
                self._reject_more()
                return found
        return None

    def _reject_more(self) -> None:
        for event in self._events:
            if isinstance(event, yaml.NodeEvent):
                raise self._rejected(event, "begins a second document: leave one")

    def _value(self, event: Any) -> Any:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchored:
                raise self._rejected(event, f"*{event.anchor} names no earlier &{event.anchor}")
            return self._anchored[event.anchor]
        found: Any
        if isinstance(event, yaml.ScalarEvent):
            found = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._reject_tag(event, "seq")
            found = [self._value(item) for item in self._items()]
        else:
            self._reject_tag(event, "map")
            found = {}
            for key in self._items():
                self._add(found, key)
        if event.anchor is not None:
            self._anchored[event.anchor] = found
        return found

    def _items(self) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, yaml.CollectionEndEvent):
                return
            yield event

    def _add(self, into: dict[str, Any], key: Any) -> None:
        if not isinstance(key, yaml.ScalarEvent):
            raise self._rejected(key, "has a key that is no text: give a name and a colon")
        if key.value == "<<" and key.implicit[0]:
            raise self._rejected(key, "merges with <<, which YAML 1.2 has not: write the keys out")
        if key.value in into:
            raise self._rejected(key, f"has {key.value[:60]} a second time: give it once")
        into[key.value] = self._value(next(self._events))

    def _scalar(self, event: Any) -> Any:
        is_text = event.tag in ("!", f"{_PREFIX}str") or not (event.tag or event.implicit[0])
        if is_text:
            return event.value
        self._reject_tag(event, *_KINDS)
        try:
            found = _read_plain(event.value)
        except ValueError:
            raise self._rejected(event, "has a number of too many digits: shorten it") from None
        kind = (event.tag or "").removeprefix(_PREFIX)
        if kind and type(found) not in _KINDS[kind]:
            raise self._rejected(event, f"{event.value[:60]!r} is no {kind}: correct it")
        return float(found) if kind == "float" else found

    def _reject_tag(self, event: Any, *kinds: str) -> None:
        tag = event.tag
        if tag not in (None, "!", *(f"{_PREFIX}{kind}" for kind in kinds)):
            shown = f"!!{tag.removeprefix(_PREFIX)}" if tag.startswith(_PREFIX) else tag
            raise self._rejected(event, f"has the tag {shown[:60]}: leave it out")

    def _rejected(self, event: Any, reason: str) -> ConfigurationError:
        return ConfigurationError(f"{self._where}: line {event.start_mark.line + 1} {reason}")


def _reason(error: yaml.YAMLError, text: str) -> tuple[str, str]:
    """Return what is wrong with a text, and what mends it."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split()), "check the syntax"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent or line[mark.column : mark.column + 1] == "\t":
        return f"line {mark.line + 1} has a tab", "indent with spaces"
    said = getattr(error, "problem", None) or "it cannot be read"
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if len(lines) > 1 else ""
    return f"{where}{said}", "check the syntax"
