"""One range, or the choices, of a setting: completed from defaults and validated.

Must import neither torch nor optuna.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from study.configuration.given_values import shown, suggest_near
from study.configuration.spaces.settings import (
    PER_STAGE,
    number_type,
    plain_value,
    reject_unsearchable,
)
from study.configuration.yaml_values import dump_assigned
from study.errors import ConfigurationError

OPTIMIZER = "optimization.optimizer"
LEARNING_RATE = "optimization.learning_rate"
WEIGHT_DECAY = "optimization.weight_decay"
DROPOUT = "network.dropout"

DEFAULT_LEARNING_RATES: Mapping[str, Mapping[str, Any]] = {
    "sgd": {"low": 1e-3, "high": 1.0, "log": True},
    "adam": {"low": 1e-5, "high": 1e-2, "log": True},
    "adamw": {"low": 1e-5, "high": 1e-2, "log": True},
}
DEFAULT_RANGES: Mapping[str, Mapping[str, Any]] = {
    PER_STAGE: {"low": 1, "high": 4, "log": False},
    DROPOUT: {"low": 0.0, "high": 0.5, "log": False},
    WEIGHT_DECAY: {"low": 1e-6, "high": 1e-2, "log": True},
    "optimization.label_smoothing": {"low": 0.0, "high": 0.2, "log": False},
}
"""What a range is completed from; that of the learning rate follows the optimizer."""

RANGE_PARTS = ("low", "high", "log")
PARTS = (*RANGE_PARTS, "choices", "when")


def defaults_of(key: str, optimizers: Sequence[str]) -> Any:
    """Return the default range; a list with conditions where optimizers have several.

    Raises:
        ConfigurationError: If the setting has none.
    """
    if key != LEARNING_RATE:
        if key not in DEFAULT_RANGES:
            raise ConfigurationError(
                f"search.space.{key} has no default range: give {_example(key)}"
            )
        return DEFAULT_RANGES[key]
    ranges: list[tuple[Mapping[str, Any], list[str]]] = []
    for name in optimizers:
        same = [names for within, names in ranges if within == DEFAULT_LEARNING_RATES[name]]
        if same:
            same[0].append(name)
        else:
            ranges.append((DEFAULT_LEARNING_RATES[name], [name]))
    if len(ranges) == 1:
        return ranges[0][0]
    return [{**within, "when": {OPTIMIZER: _few(names)}} for within, names in ranges]


def _few(values: Sequence[Any]) -> Any:
    """Return the values of a condition: one as it is, several as a list."""
    return list(values) if len(values) > 1 else values[0]


def complete_range(
    where: str, key: str, given: Mapping[str, Any], optimizers: Sequence[str]
) -> dict[str, Any]:
    """Return one range, or the choices, of a setting in whole form.

    Args:
        where: The setting, and its place in a list of ranges, for messages.
        key: The setting.
        given: What a user gives, perhaps in part.
        optimizers: Those that trials may have.

    Raises:
        ConfigurationError: If it is rejected.
    """
    foreign = [part for part in given if part not in PARTS]
    if foreign:
        remedy = suggest_near(foreign[0], PARTS, otherwise="leave it out")
        raise ConfigurationError(
            f"search.space.{where} must have low, high and log, or choices, and may have when, "
            f"got {foreign[0]}: {remedy}"
        )
    when = _condition(where, given.get("when"))
    ends = {part: given[part] for part in RANGE_PARTS if given.get(part) is not None}
    if given.get("choices") is not None:
        if ends:
            raise ConfigurationError(
                f"search.space.{where} must have choices or a range, got choices and "
                f"{next(iter(ends))}: leave one out"
            )
        return {"choices": _choices(where, key, given["choices"]), **when}
    return {**_range(where, key, ends, _under(when, optimizers)), **when}


def _under(when: Mapping[str, Any], optimizers: Sequence[str]) -> Sequence[str]:
    """Return the optimizers that a condition leaves."""
    named = when.get("when", {}).get(OPTIMIZER)
    if named is None:
        return optimizers
    names = [str(one).casefold() for one in (named if isinstance(named, list) else [named])]
    return [name for name in names if name in DEFAULT_LEARNING_RATES] or optimizers


def _condition(where: str, when: Any) -> dict[str, Any]:
    if when is None or when == {}:
        return {}
    if not isinstance(when, Mapping):
        raise ConfigurationError(
            f"search.space.{where}.when must map a searched setting to its values, got "
            f"{shown(when)}: for example when: {{{OPTIMIZER}: adamw}}"
        )
    found = {}
    for key, values in when.items():
        reject_unsearchable(key)
        listed = list(values) if isinstance(values, list | tuple) else [values]
        if not listed:
            raise ConfigurationError(
                f"search.space.{where}.when must give a value of {key}, got none: leave it out"
            )
        found[key] = _few(listed)
    return {"when": found}


def _choices(where: str, key: str, given: Any) -> list[Any]:
    if not isinstance(given, list | tuple) or not given:
        raise ConfigurationError(
            f"search.space.{where}.choices must be a list of values, got {shown(given)}: give "
            "them in brackets"
        )
    values = [_own(f"{where}.choices", key, value) for value in given]
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ConfigurationError(
                f"search.space.{where}.choices must differ, got {shown(value)} twice: leave one "
                "out"
            )
    return values


def _own(where: str, key: str, value: Any) -> Any:
    """Return a value that the setting itself accepts."""
    try:
        return plain_value(key, value)
    except ConfigurationError as error:
        raise ConfigurationError(f"search.space.{where}: {error}") from None


def _range(
    where: str, key: str, ends: dict[str, Any], optimizers: Sequence[str]
) -> dict[str, Any]:
    if number_type(key) is None:
        raise ConfigurationError(
            f"search.space.{where} must have choices, {key} is no single number: give "
            f"{_example(key)}"
        )
    default = _default_range(where, key, ends, optimizers)
    missing = [end for end in ("low", "high") if end not in {**default, **ends}]
    if missing:
        raise ConfigurationError(
            f"search.space.{where} must have low and high, got {shown(ends)}: give "
            f"{missing[0]} too"
        )
    whole = {"log": False, **default, **ends}
    low, high, log = (whole[part] for part in RANGE_PARTS)
    if not isinstance(log, bool):
        raise ConfigurationError(
            f"search.space.{where}.log must be true or false, got {shown(log)}: correct it"
        )
    low, high = (_end(f"{where}.{name}", key, end) for name, end in (("low", low), ("high", high)))
    if low > high:
        raise ConfigurationError(
            f"search.space.{where}: low must not lie above high, got {low:g} and {high:g}: swap "
            "them, or give both"
        )
    if log and low <= 0:
        raise ConfigurationError(
            f"search.space.{where}.low must be positive on a logarithmic scale, got {low:g}: "
            "raise it, or set log: false"
        )
    return {"low": low, "high": high, "log": log}


def _default_range(
    where: str, key: str, ends: Mapping[str, Any], optimizers: Sequence[str]
) -> Mapping[str, Any]:
    """Return what a range given in part is completed from, where there is anything."""
    if key != LEARNING_RATE and key not in DEFAULT_RANGES:
        return {}
    default = defaults_of(key, optimizers)
    if isinstance(default, Mapping):
        return default
    if {"low", "high"} <= ends.keys():
        return {"log": True}
    raise ConfigurationError(
        f"search.space.{where} must have low and high where the optimizer is searched, got "
        f"{shown(dict(ends))}: give both, or one range for each optimizer with when"
    )


def _end(where: str, key: str, value: Any) -> Any:
    """Return an end of a range as a number of the setting's type."""
    kind = number_type(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ConfigurationError(
            f"search.space.{where} must be a number, got {shown(value)}: correct it"
        )
    if kind is int and value % 1:
        raise ConfigurationError(
            f"search.space.{where} must be a whole number, got {value:g}: round it"
        )
    found = int(value) if kind is int else float(value)
    _own(where, key, [found] if key == PER_STAGE else found)
    return found


def no_range(key: str, given: Any) -> str:
    """Return the message on a value that is no range."""
    return (
        f"search.space.{key} must be a range or choices, got {shown(given)}: give "
        f"{_example(key, given)}"
    )


def _example(key: str, given: Any = None) -> str:
    """Return the assignment that a list or a number stands for, else any that has its form."""
    listed = list(given) if isinstance(given, list | tuple) else [given]
    if number_type(key) is None:
        meant: Mapping[str, Any] = {"choices": ["A", "B"] if given is None else listed}
    else:
        are_ends = len(listed) < 3 and all(isinstance(one, int | float) for one in listed)
        ends = sorted((listed * 2)[:2]) if are_ends else ["A", "B"]
        meant = dict(zip(("low", "high"), ends, strict=True))
    return f"--set {shlex.quote(f'search.space.{key}={dump_assigned(meant)}')}"
