"""`--set search.space.SETTING...`: one setting of a space added, changed, or taken out."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from study.configuration.given_values import names_nothing, shown
from study.configuration.spaces.completion import expand
from study.configuration.spaces.ranges import PARTS, RANGE_PARTS
from study.configuration.spaces.settings import SEARCHABLE
from study.errors import ConfigurationError

PREFIX = "search.space."


def edit_space(space: Any, key: str, value: Any) -> dict[str, Any]:
    """Return a space with one setting changed.

    Args:
        space: A name, or a mapping.
        key: What follows `search.space.`: a setting, and which part of its range is meant.
        value: A range or choices, or the value of the part; None takes the setting out.

    Raises:
        ConfigurationError: If the space is one of given points, or has no such part.
    """
    expanded = expand(space)
    setting, part = _split(key)
    if not isinstance(expanded, Mapping):
        raise ConfigurationError(
            f"{PREFIX}{setting} needs a space to be part of, search.space is {shown(expanded)}: "
            "give search.space as a mapping"
        )
    changed = dict(expanded)
    current = changed.get(setting)
    if names_nothing(value) and not part:
        changed.pop(setting, None)
        return changed
    if part:
        changed[setting] = _with_part(setting, current, part, value)
    elif _is_part(value) and isinstance(current, Mapping) and "choices" not in current:
        changed[setting] = {**current, **value}
    else:
        changed[setting] = value
    return changed


def _is_part(value: Any) -> bool:
    """Return whether a value is a range of which an end is missing."""
    is_range = isinstance(value, Mapping) and set(value) <= {*RANGE_PARTS}
    return is_range and not {"low", "high"} <= set(value)


def _with_part(setting: str, current: Any, part: str, value: Any) -> dict[str, Any]:
    if isinstance(current, list):
        raise ConfigurationError(
            f"{PREFIX}{setting} has several ranges, got {part} for one: give them all as "
            f"--set '{PREFIX}{setting}=[{{...}}, {{...}}]'"
        )
    found = deepcopy(dict(current)) if isinstance(current, Mapping) else {}
    name, _, inner = part.partition(".")
    if inner:  # the setting of a condition has dots itself
        inside = found.get(name)
        found[name] = {**(inside if isinstance(inside, Mapping) else {}), inner: value}
    else:
        found[name] = value
    return found


def _split(key: str) -> tuple[str, str]:
    """Return the setting that a key begins with, and what follows it."""
    for setting in sorted(SEARCHABLE, key=len, reverse=True):
        if key == setting or key.startswith(f"{setting}."):
            return setting, key[len(setting) + 1 :]
    setting, _, part = key.rpartition(".")
    return (setting, part) if part in PARTS else (key, "")
