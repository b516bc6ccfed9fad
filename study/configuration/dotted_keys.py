"""Settings by dotted key, such as `optimization.learning_rate`, in nested values."""

import functools
from typing import Any


def assign(values: dict[str, Any], dotted_key: str, value: Any) -> None:
    """Set a value in nested mappings; what stands in its way is replaced."""
    *sections, key = dotted_key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            inner = values[section] = {}
        values = inner
    values[key] = value


def value_at(config: Any, dotted_key: str) -> Any:
    """Return the value of a setting of a configuration."""
    return functools.reduce(getattr, dotted_key.split("."), config)
