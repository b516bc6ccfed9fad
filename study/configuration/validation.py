"""Plain values become settings, or one line that names the first wrong one."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from study.configuration.dotted_keys import leaves
from study.configuration.given_values import (
    find_choices,
    find_models,
    find_unstorable,
    names_nothing,
    shown,
    suggest_near,
)
from study.configuration.reject_booleans import truth_value_for_a_number
from study.configuration.yaml_values import dump_assigned
from study.errors import ConfigurationError

M = TypeVar("M", bound=BaseModel)
SEE = "see `study config`"


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
    return f"{_rule(key, first, kind)}{rest}"


def _rule(key: str, error: Mapping[str, Any], kind: type[BaseModel]) -> str:
    """Return what a setting must be, what it is, and what mends it."""
    given, problem = error["input"], error["type"]
    reason = error["msg"].removeprefix("Value error, ")
    if problem == "extra_forbidden":
        remedy = suggest_near(key, _known_names(kind), otherwise=SEE)
        return f"{key} is no setting: {remedy}"
    if problem == "value_error":
        return f"{key}: {reason}" if key else reason
    if problem == "literal_error":
        key = key.removesuffix(".[key]")
        choices = find_choices(_annotation(kind, error["loc"]))
        remedy = suggest_near(str(given), choices, otherwise="choose one of them")
        return f"{key} must be one of {', '.join(choices)}, got {shown(given)}: {remedy}"
    if names_nothing(given) and problem != "string_pattern_mismatch":
        rule = "hold settings" if problem.startswith("model") else "have a value"
        return f"{key} must {rule}, got none: leave it out"
    if problem == "missing":
        return f"{key} must have a value where {key.rpartition('.')[0]} has one: give it too"
    if problem.startswith("model") and (example := _example_of_range(key, given, kind, error)):
        return f"{key} must have two ends, got {shown(given)}: give it as --set {example}"
    if problem == "string_type" and isinstance(given, int | float):
        quoted = shlex.quote(f'{key}="{given}"')
        return f"{key} must be text, got {shown(given)}: quote it, --set {quoted}"
    return f"{key}: {reason[0].lower()}{reason[1:]}, got {shown(given)}: {SEE}"


def _known_names(kind: type[BaseModel]) -> list[str]:
    """Return all settings, their sections, and what settings of several values are made of."""
    settings = leaves(kind)
    sections = {name.rpartition(".")[0] for name, _ in settings} - {""}
    within = [
        f"{name}.{inner}"
        for name, setting in settings
        for model in find_models(setting.annotation)
        for inner in model.model_fields
    ]
    return [*(name for name, _ in settings), *sorted(sections), *within]


def _annotation(kind: type[BaseModel], location: Sequence[int | str]) -> Any:
    """Return the type of the setting at a place of a model; of what lies deeper, its own."""
    annotation: Any = kind
    for part in location:
        model = next(find_models(annotation), None)
        if model is None or part not in model.model_fields:
            break
        annotation = model.model_fields[str(part)].annotation
    return annotation


def _example_of_range(
    key: str, given: Any, kind: type[BaseModel], error: Mapping[str, Any]
) -> str | None:
    """Return the assignment that a list or a number stands for, None where this is no range."""
    model = next(find_models(_annotation(kind, error["loc"])), None)
    if model is None or not {"low", "high"} <= model.model_fields.keys():
        return None
    ends = list(given) if isinstance(given, list | tuple) and len(given) == 2 else [given] * 2
    if all(isinstance(end, int | float) for end in ends):
        ends = sorted(ends)
    else:
        ends = [1, 3] if model.model_fields["low"].annotation is int else [0.1, 0.5]
    return shlex.quote(f"{key}={dump_assigned(dict(zip(('low', 'high'), ends, strict=True)))}")
