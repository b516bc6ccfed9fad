"""Settings by dotted key, such as `optimization.learning_rate`, in nested values."""

import functools
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def assign(values: dict[str, Any], dotted_key: str, value: Any) -> None:
    """Set a value in nested mappings.

    A model on the way becomes a mapping of its fields; any other value on the way is replaced.
    """
    *sections, key = dotted_key.split(".")
    for section in sections:
        inner = values.get(section)
        if not isinstance(inner, dict):
            inner = values[section] = dict(inner) if isinstance(inner, BaseModel) else {}
        values = inner
    values[key] = value


def nested(dotted_key: str, value: Any) -> dict[str, Any]:
    """Return nested mappings with one value."""
    values: dict[str, Any] = {}
    assign(values, dotted_key, value)
    return values


def merge(
    into: dict[str, Any], values: Mapping[str, Any], *, whole: Sequence[str], prefix: str = ""
) -> None:
    """Set the values of sections; a setting that is a mapping itself is replaced as a whole.

    Args:
        into: Is changed.
        values: Sections with what changes.
        whole: Dotted keys of settings that are mappings.
        prefix: Dotted key of the section that both are, with a dot.
    """
    for key, value in values.items():
        inner = into.get(key)
        is_setting = f"{prefix}{key}" in whole
        if isinstance(value, dict) and isinstance(inner, dict) and not is_setting:
            merge(inner, value, whole=whole, prefix=f"{prefix}{key}.")
        else:
            into[key] = deepcopy(value)


def value_at(config: Any, dotted_key: str) -> Any:
    """Return the value of a setting of a configuration."""
    return functools.reduce(getattr, dotted_key.split("."), config)


def leaves(model: type[BaseModel], prefix: str = "") -> list[tuple[str, FieldInfo]]:
    """Return every setting of a model by dotted key; a section without description is entered."""
    found: list[tuple[str, FieldInfo]] = []
    for name, setting in model.model_fields.items():
        kind = setting.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and setting.description is None:
            found += leaves(kind, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", setting))
    return found
