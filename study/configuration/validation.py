"""Plain values become settings, or one line that names the first wrong one."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

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
RENAMED = {"search.n_trials": "search.budget.trials"}
"""What settings of early versions are called now."""


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
        return f"{key} is no setting: {_remedy_of_unknown(error['loc'], kind)}"
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
    if problem == "string_type" and isinstance(given, int | float):
        quoted = shlex.quote(f'{key}="{given}"')
        return f"{key} must be text, got {shown(given)}: quote it, --set {quoted}"
    if (form := _form(key, given, kind, error)) is not None:
        return form
    return f"{key}: {reason[0].lower()}{reason[1:]}, got {shown(given)}: {SEE}"


def _form(key: str, given: Any, kind: type[BaseModel], error: Mapping[str, Any]) -> str | None:
    """Return the message on a value of another form than its setting; None on any other."""
    problem, got = error["type"], f"got {shown(given)}"
    if problem == "string_pattern_mismatch":
        described = _field(kind, error["loc"]).description or ""
        return f"{key} must be {described.rpartition(': ')[2].rstrip('.')}, {got}: correct it"
    if problem.startswith("model"):
        return f"{key} must hold settings, {got}: give one of them, as {key}.NAME"
    if problem == "tuple_type":
        listed = shlex.quote(f"{key}={dump_assigned(_as_list(given))}")
        return f"{key} must be a list, {got}: give it as --set {listed}"
    return None


def _as_list(given: Any) -> list[Any]:
    """Return the list that is meant, such as by `2-2-2`, `64, 128` or 2."""
    if not isinstance(given, str):
        return [given]
    parts = re.split(r"[-,x\s]+", given.strip())
    return [int(part) for part in parts] if all(map(str.isdecimal, parts)) else parts


def _remedy_of_unknown(location: Sequence[int | str], kind: type[BaseModel]) -> str:
    """Return what to write in the place of a name that is no setting."""
    name, known = str(location[-1]), _known_names(kind)
    key = ".".join(map(str, location))
    if key in RENAMED:
        return f"give it as {RENAMED[key]}"
    if "." in name and key in known:
        section, _, setting = name.rpartition(".")
        return f"write {section}: and, indented below it, {setting}:"
    return suggest_near(key, known, otherwise=SEE)


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


def _field(kind: type[BaseModel], location: Sequence[int | str]) -> FieldInfo:
    """Return the setting at a place of a model."""
    *sections, name = location
    model = next(find_models(_annotation(kind, sections)))
    return model.model_fields[str(name)]


def _annotation(kind: type[BaseModel], location: Sequence[int | str]) -> Any:
    """Return the type of the setting at a place of a model; of what lies deeper, its own."""
    annotation: Any = kind
    for part in location:
        model = next(find_models(annotation), None)
        if model is None or part not in model.model_fields:
            break
        annotation = model.model_fields[str(part)].annotation
    return annotation
