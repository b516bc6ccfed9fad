"""Hyperparameters that somebody asks for: by setting or by Optuna's name, within the space."""

from collections.abc import Mapping, Sequence
from typing import Any

from study.configuration.config import StudyConfig
from study.configuration.given_values import names_nothing, suggest_near
from study.configuration.search_space import Choice, Range, Searched, as_choice, read_searched
from study.configuration.spaces.settings import WIDTHS
from study.configuration.yaml_values import parse_assigned
from study.errors import ConfigurationError, StudyError


def parse_params(config: StudyConfig, assignments: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of texts such as `learning_rate=0.1` or `blocks=2-2-2`.

    Args:
        config: Of the study.
        assignments: A setting by its dotted key, by the last part of it where only one setting of
            the space has that, or by Optuna's name of the parameter.

    Raises:
        StudyError: If one is none, or names nothing that the study searches.
    """
    searched = read_searched(config.search)
    given: dict[str, tuple[str, Any]] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise StudyError(
                f"KEY=VALUE must give a hyperparameter, got {text!r}: "
                "for example learning_rate=0.1 or blocks=2-2-2"
            )
        meant = _meant(key, searched, _n_stages(config, searched))
        if meant in given:
            raise _twice(key, text)
        given[meant] = (key, _value(value))
    params: dict[str, Any] = {}
    for meant, (key, value) in given.items():
        for name, one in _as_params(config, searched, meant, key, value, given).items():
            if name in params:
                raise _twice(name, f"{key}={value}")
            params[name] = one
    return dict(sorted(params.items()))


def _twice(name: str, text: str) -> StudyError:
    return StudyError(f"{name} must be given once, got {text!r} too: leave one out")


def _meant(key: str, searched: Sequence[Searched], n_stages: int) -> str:
    """Return the setting or the parameter that a key means, else the key."""
    names = {name for one in searched for name in one.names(n_stages)}
    settings = {one.setting for one in searched}
    if key in names or key in settings:
        return key
    short: dict[str, str] = {one.rpartition(".")[2]: one for one in sorted(settings)}
    for one in searched:
        if one.is_per_stage:
            last = one.setting.rpartition(".")[2]
            short |= {f"{last}_{n}": name for n, name in enumerate(one.names(n_stages), start=1)}
    return short.get(key, key)


def _as_params(
    config: StudyConfig,
    searched: Sequence[Searched],
    meant: str,
    key: str,
    value: Any,
    given: Mapping[str, tuple[str, Any]],
) -> dict[str, Any]:
    """Return the parameters of one assignment; one that is no setting is a parameter itself."""
    ranges = [one for one in searched if one.setting == meant]
    if not ranges:
        return {meant: _chosen(value, _by_name(config).get(meant))}
    if len(ranges) > 1:
        ranges = [one for one in ranges if _is_met(one, given)]
    if len(ranges) != 1:
        above = " and ".join(dict.fromkeys(k for one in searched for k in one.when))
        raise StudyError(
            f"{key} must be given with what decides its range ({above}), got {key} alone: add that"
        )
    (one,) = ranges
    if not one.is_per_stage:
        return {one.name: _chosen(value, one)}
    n_stages = len(_given_widths(config, searched, given))
    counts = value if isinstance(value, list) else str(value).replace(",", "-").split("-")
    if len(counts) != n_stages:
        raise StudyError(
            f"{key} must have one number for each stage ({n_stages}), got {_text(value)!r}: "
            f"for example {key}={'-'.join('2' * n_stages)}"
        )
    numbers = [_value(one) if isinstance(one, str) else one for one in counts]
    return dict(zip(one.names(n_stages), numbers, strict=True))


def _is_met(one: Searched, given: Mapping[str, tuple[str, Any]]) -> bool:
    return all(
        key in given and as_choice(given[key][1]) in values for key, values in one.when.items()
    )


def _given_widths(
    config: StudyConfig, searched: Sequence[Searched], given: Mapping[str, tuple[str, Any]]
) -> Sequence[int]:
    for one in searched:
        if one.setting == WIDTHS and not isinstance(one.within, Range) and WIDTHS in given:
            widths: Sequence[int] = one.within.get(as_choice(given[WIDTHS][1]), ())
            return widths
    return config.network.widths


def _chosen(value: Any, one: Searched | None) -> Any:
    """Return a value as Optuna keeps it."""
    if one is not None and not isinstance(one.within, Range) and names_nothing(value):
        return None if None in one.within else as_choice(value)
    return as_choice(value)


def _value(text: str) -> Any:
    """Return what YAML sees, else the text, which no range accepts."""
    try:
        return parse_assigned(text, "KEY=VALUE")
    except ConfigurationError:
        return text


def _text(value: Any) -> str:
    return str(as_choice(value))


def _n_stages(config: StudyConfig, searched: Sequence[Searched]) -> int:
    """Return the most stages that a trial may have."""
    lengths = [len(config.network.widths)]
    for one in searched:
        if one.setting == WIDTHS and not isinstance(one.within, Range):
            lengths += [len(widths) for widths in one.within.values()]
    return max(lengths)


def _by_name(config: StudyConfig) -> dict[str, Searched]:
    searched = read_searched(config.search)
    n_stages = _n_stages(config, searched)
    return {name: one for one in searched for name in one.names(n_stages)}


def validate_params(config: StudyConfig, params: Mapping[str, Any]) -> None:
    """Reject hyperparameters that are not in the search space of a study.

    Args:
        config: Of the study.
        params: Values by Optuna's names.

    Raises:
        StudyError: If there are any; the message names the first with its rule and value.
    """
    if config.search.points:
        raise StudyError(
            f"study {config.name!r} must train its given points only, got {dict(params)!r}: "
            "start a changed study with more search.points"
        )
    known = _by_name(config)
    for name, value in params.items():
        if name not in known:
            raise StudyError(_unknown(config, name, value, known))
        _reject_outside(config, known[name], name, value)
    for name in params:
        _reject_unmet(known, known[name], name, params)


def _reject_outside(config: StudyConfig, one: Searched, name: str, value: Any) -> None:
    remedy = f"give one within search.space.{one.setting} of study {config.name!r}"
    if isinstance(one.within, Range):
        if not _lies_within(value, one.within, is_whole=one.is_whole):
            kind = "a whole number" if one.is_whole else "a number"
            low, high = one.within.low, one.within.high
            raise StudyError(
                f"{name} must be {kind} from {low:g} to {high:g}, got {value!r}: {remedy}"
            )
    elif not any(_is_same(value, choice) for choice in one.within):
        listed = ", ".join(map(str, one.within))
        raise StudyError(f"{name} must be one of {listed}, got {value!r}: {remedy}")


def _is_same(value: Any, choice: Choice) -> bool:
    return bool(value == choice) and isinstance(value, bool) == isinstance(choice, bool)


def _reject_unmet(
    known: Mapping[str, Searched], one: Searched, name: str, params: Mapping[str, Any]
) -> None:
    """Reject a parameter that the trial would not be asked for."""
    for key, values in one.when.items():
        above = [param for param, other in known.items() if other.setting == key]
        if not any(params.get(param, ...) in values for param in above):
            wanted = " or ".join(map(str, values))
            raise StudyError(
                f"{name} must be given with {key}={wanted}, under which it is searched, got "
                f"{name}={params[name]!r} without: add {key}={values[0]}"
            )


def _lies_within(value: Any, within: Range, *, is_whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return within.low <= value <= within.high and not (is_whole and value % 1)


def _unknown(config: StudyConfig, name: str, value: Any, known: Mapping[str, Searched]) -> str:
    rule = f"{name} must be a hyperparameter that study {config.name!r} searches"
    by_last = {one.setting.rpartition(".")[2]: one.setting for one in known.values()}
    near = suggest_near(name.rpartition(".")[2], by_last, otherwise="")
    remedy = "leave it out, or fork the study"
    for last, setting in by_last.items():
        remedy = near.replace(last, setting) if near == f"did you mean {last}?" else remedy
    return f"{rule} ({', '.join(known) or 'none'}), got {name}={value!r}: {remedy}"
