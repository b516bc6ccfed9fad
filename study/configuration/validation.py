"""Plain values become settings, or one line that names the first wrong one."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from study.configuration.dotted_keys import leaves
from study.configuration.given_values import find_unstorable, shown
from study.configuration.reject_booleans import truth_value_for_a_number
from study.errors import ConfigurationError

M = TypeVar("M", bound=BaseModel)


def validate(kind: type[M], values: Mapping[str, Any]) -> M:
    """Return the settings of plain values.

    Raises:
        ConfigurationError: If a value is rejected; the message names the first, counts the rest.
    """
    unstorable = find_unstorable(values)
    if unstorable is not None:
        raise ConfigurationError(f"{unstorable[0]} must be {unstorable[1]}: see `study config`")
    mistaken = truth_value_for_a_number(kind, values)
    if mistaken is not None:
        key, value = mistaken
        raise ConfigurationError(
            f"{key}: true and false are no numbers, got {shown(value)}: see `study config`"
        )
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(_explained(error, kind)) from None


def _explained(error: ValidationError, kind: type[BaseModel]) -> str:
    first, *others = error.errors()
    key = ".".join(str(part) for part in first["loc"])
    rest = f" (and {len(others)} more)" if others else ""
    if first["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(key, [key for key, _ in leaves(kind)], n=1, cutoff=0)
        return f"{key} is no setting: did you mean {nearest[0]}?{rest}"
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{key}: {reason}{rest}" if key else f"{reason}{rest}"
    reason = reason[0].lower() + reason[1:]
    return f"{key}: {reason}, got {shown(first['input'])}: see `study config`{rest}"
