"""`true` and `false` where a number belongs: pydantic would take them for 1 and 0.

The one place that finds them, for the settings of all packages.
"""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel


def truth_value_for_a_number(
    model: type[BaseModel], values: Mapping[str, Any]
) -> tuple[str, Any] | None:
    """Return the dotted key and the value of the first such setting, None where there is none.

    Args:
        model: What the values are meant for.
        values: Not validated yet; unknown keys are passed over.
    """
    return next(_mistaken(model, values, ""), None)


def _mistaken(
    model: type[BaseModel], values: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, Any]]:
    for name, setting in model.model_fields.items():
        if name not in values:
            continue
        value = values[name]
        kinds = set(_kinds(setting.annotation))
        if isinstance(value, Mapping):
            for kind in kinds:
                if issubclass(kind, BaseModel):
                    yield from _mistaken(kind, value, f"{prefix}{name}.")
        elif kinds & {int, float} and bool not in kinds and _holds_truth_value(value):
            yield f"{prefix}{name}", value


def _kinds(annotation: Any) -> Iterator[type]:
    """Yield the classes that an annotation is made of."""
    if isinstance(annotation, type):
        yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def _holds_truth_value(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_truth_value(item) for item in value)
    return isinstance(value, bool)
