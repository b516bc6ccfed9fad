"""Whether a space fits its study: conditions that can hold, and values that go together.

Each end of a range and each choice is put into the configuration, alone and with each of every
other setting of its section, so that no trial fails for what could have been known before.
Must not import optuna.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from study.configuration.given_values import shown
from study.configuration.points import at_point
from study.configuration.search_space import (
    SHORT,
    Choice,
    Range,
    Searched,
    read_searched,
    suggest,
)
from study.configuration.spaces.completion import NAMED_SPACES
from study.configuration.spaces.nearest import NearestTrial, conditions_of, picks
from study.configuration.spaces.settings import plain_value
from study.errors import ConfigurationError

if TYPE_CHECKING:
    from study.configuration.config import StudyConfig

MOST_SETTINGS = 40
"""Of a space; with more, the pairs that are tried would take a command seconds."""


def checked_space(config: "StudyConfig") -> "StudyConfig":
    """Return a configuration whose space fits it, the values of conditions in plain form.

    Args:
        config: A configuration that is valid but for its space, which is whole.

    Raises:
        ConfigurationError: If a condition cannot be told, or values do not fit together.
    """
    space = config.search.searched
    if not space:
        return config
    plain = {key: _with_plain_conditions(key, given) for key, given in space.items()}
    checked = config.replacing({"search.space": plain})
    _reject_untold_conditions(checked)
    _reject_short_names(checked)
    _reject_what_does_not_fit(checked)
    return checked


def _with_plain_conditions(key: str, given: Any) -> Any:
    if isinstance(given, list):
        return [_with_plain_condition(f"{key}[{index}]", one) for index, one in enumerate(given)]
    return _with_plain_condition(key, given)


def _with_plain_condition(where: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    if "when" not in given:
        return given
    try:
        when = {
            key: [plain_value(key, value) for value in values]
            if isinstance(values, list)
            else plain_value(key, values)
            for key, values in given["when"].items()
        }
    except ConfigurationError as error:
        raise ConfigurationError(f"search.space.{where}.when: {error}") from None
    return {**given, "when": when}


def _reject_untold_conditions(config: "StudyConfig") -> None:
    searched = read_searched(config.search)
    by_setting: dict[str, list[Searched]] = {}
    for one in searched:
        by_setting.setdefault(one.setting, []).append(one)
    for one in searched:
        for key, values in one.when.items():
            _reject_untold(one, key, values, by_setting.get(key, []))
    for setting in by_setting:
        _reject_cycle(setting, by_setting)
    for setting, several in by_setting.items():
        _reject_overlap(setting, several)


def _reject_untold(
    one: Searched, key: str, values: Sequence[Choice], above: Sequence[Searched]
) -> None:
    where = f"search.space.{one.setting}.when"
    choices = [
        choice for other in above if not isinstance(other.within, Range) for choice in other.within
    ]
    if not choices:
        got = f"{key}, which is searched by a range" if above else f"{key}, which is not searched"
        raise ConfigurationError(
            f"{where} must name settings that are searched by choices, got {got}: leave it out, "
            f"or add --set 'search.space.{key}={{choices: [...]}}'"
        )
    foreign = [value for value in values if value not in choices]
    if foreign:
        listed = ", ".join(map(str, choices))
        raise ConfigurationError(
            f"{where} must give choices of {key} ({listed}), got {shown(foreign[0])}: choose one "
            "of them"
        )


def _reject_cycle(setting: str, by_setting: Mapping[str, Sequence[Searched]]) -> None:
    seen: set[str] = set()
    waiting = [setting]
    while waiting:
        for one in by_setting[waiting.pop()]:
            if setting in one.when:
                around = "itself" if one.setting == setting else one.setting
                raise ConfigurationError(
                    f"search.space.{setting}.when must not depend on the setting itself, got a "
                    f"condition of {around} on {setting}: leave one condition out"
                )
            waiting += [key for key in one.when if key not in seen]
            seen |= one.when.keys()


def _reject_overlap(setting: str, several: Sequence[Searched]) -> None:
    """Reject two ranges of one setting of which both may hold, or whose names are the same."""
    for one, other in itertools.combinations(several, 2):
        shared = one.when.keys() & other.when.keys()
        if not any(set(one.when[key]).isdisjoint(other.when[key]) for key in shared):
            raise ConfigurationError(
                f"search.space.{setting} must have ranges of which one holds at a time, got two "
                f"under {_when(one)} and {_when(other)}: give each other values in when"
            )
        if one.name == other.name:
            raise ConfigurationError(
                f"search.space.{setting} must have conditions that differ in words, got two "
                f"{one.name}: name the values of one of them in another order"
            )


def _when(one: Searched) -> str:
    if not one.when:
        return "no condition"
    return " and ".join(f"{key} {'|'.join(map(str, one.when[key]))}" for key in one.when)


def _reject_short_names(config: "StudyConfig") -> None:
    """Reject short names where two settings, or a condition, would share one."""
    if config.search.param_names != SHORT:
        return
    for one in read_searched(config.search):
        if one.setting not in NAMED_SPACES["joint"] or one.when:
            raise ConfigurationError(
                f"search.param_names must be dotted to search {one.setting}, got short: leave it "
                "out, it is for studies of earlier versions"
            )


def _reject_what_does_not_fit(config: "StudyConfig") -> None:
    searched = read_searched(config.search)
    if len(searched) > MOST_SETTINGS:
        raise ConfigurationError(
            f"search.space must have at most {MOST_SETTINGS} ranges, got {len(searched)}: search "
            "fewer settings"
        )
    _reject_nearest(config)
    for one in searched:
        for words, picked in picks(one):
            error = _why_not(config, one, picked)
            if error is not None:
                raise ConfigurationError(f"search.space.{one.setting} at {words}: {error}")
    for one, other in itertools.combinations(searched, 2):
        if _section(one) != _section(other):  # sections have no rules in common
            continue
        for (first, these), (second, those) in itertools.product(picks(one), picks(other)):
            error = _why_not_both(config, (one, these), (other, those))
            if error is not None:
                raise ConfigurationError(
                    f"search.space must not combine {one.setting} {first} with {other.setting} "
                    f"{second} ({error}): leave one out, or give it a condition with when"
                )


def _section(one: Searched) -> str:
    return one.setting.partition(".")[0]


def _reject_nearest(config: "StudyConfig") -> None:
    error = _error_of(config, {})
    if error is not None:
        raise ConfigurationError(
            f"search.space must hold a point near the configured values: {error}"
        )


def _why_not(config: "StudyConfig", one: Searched, picked: Mapping[str, Any]) -> str | None:
    """Return why a value is rejected where its condition holds, None where it is not."""
    under = conditions_of(one, config)
    if under is None:
        return f"its condition, {_when(one)}, never holds: change it"
    return _error_of(config, {**under, **picked})


def _why_not_both(
    config: "StudyConfig",
    one: tuple[Searched, Mapping[str, Any]],
    other: tuple[Searched, Mapping[str, Any]],
) -> str | None:
    """Return why two values are rejected together; None where they fit, or never meet."""
    together: dict[str, Any] = {}
    for searched, picked in (one, other):
        for name, value in {**(conditions_of(searched, config) or {}), **picked}.items():
            if together.setdefault(name, value) != value:
                return None
    return _error_of(config, together)


def _error_of(config: "StudyConfig", picked: Mapping[str, Any]) -> str | None:
    try:
        at_point(config, suggest(NearestTrial(config, picked), config))
    except ConfigurationError as error:
        return str(error)
    return None
