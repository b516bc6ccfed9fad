"""A search space as a user gives it becomes a whole one: names resolved, ranges completed.

A whole space maps each searched setting to `{low, high, log}` or `{choices}`, with `when` where it
is drawn only then, or to a list of these. Must import neither torch nor optuna.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from study.configuration.given_values import shown, suggest_near
from study.configuration.spaces.ranges import (
    DEFAULT_LEARNING_RATES,
    DROPOUT,
    LEARNING_RATE,
    OPTIMIZER,
    WEIGHT_DECAY,
    complete_range,
    defaults_of,
    no_range,
)
from study.configuration.spaces.settings import PER_STAGE, SEARCHABLE, reject_unsearchable
from study.errors import ConfigurationError

GIVEN = "given"
DEFAULT = "default"
"""In the place of a range: that of `DEFAULT_RANGES`."""

NAMED_SPACES: Mapping[str, tuple[str, ...]] = {
    "joint": (PER_STAGE, DROPOUT, LEARNING_RATE, WEIGHT_DECAY),
    "lr-wd": (LEARNING_RATE, WEIGHT_DECAY),
    "blocks-dropout": (PER_STAGE, DROPOUT),
    "fixed": (),
}
SPACE_NAMES = (*NAMED_SPACES, GIVEN)

Space = Mapping[str, Any]


def expand(space: Any) -> Any:
    """Return the mapping that a named space stands for; anything else as it is.

    Raises:
        ConfigurationError: If no space has this name.
    """
    if not isinstance(space, str):
        return space
    name = space.casefold()
    if name == GIVEN:
        return GIVEN
    if name not in NAMED_SPACES:
        remedy = suggest_near(name, SPACE_NAMES, otherwise="choose one of them, or give a mapping")
        raise ConfigurationError(
            f"search.space must map settings to ranges or choices, or be one of "
            f"{', '.join(SPACE_NAMES)}, got {shown(space)}: {remedy}"
        )
    return dict.fromkeys(NAMED_SPACES[name], DEFAULT)


def complete(space: Any, *, optimizer: Any) -> Any:
    """Return a whole space, its settings in the order of `study config`.

    Args:
        space: A name, or a mapping whose ranges may be given in part, or as `default`.
        optimizer: The configured one, which the default range of the learning rate follows.

    Raises:
        ConfigurationError: If it is no space; the message names the setting.
    """
    expanded = expand(space)
    if expanded == GIVEN:
        return GIVEN
    if not isinstance(expanded, Mapping):
        raise ConfigurationError(
            f"search.space must map settings to ranges or choices, got {shown(expanded)}: for "
            "example --set 'search.space={network.dropout: {low: 0, high: 0.5}}'"
        )
    for key in expanded:
        reject_unsearchable(key)
    searched = {key: given for key, given in expanded.items() if given is not None}
    optimizers = _possible_optimizers(searched, optimizer)
    order = list(SEARCHABLE)
    return {
        key: _complete_setting(key, searched[key], optimizers)
        for key in sorted(searched, key=order.index)
    }


def with_defaults_named(space: Any, *, optimizer: Any) -> Any:
    """Return a whole space with `default` for a learning rate of the optimizer's default range.

    A stored space then follows another optimizer, as a new one does.
    """
    whole = isinstance(space, Mapping) and LEARNING_RATE in space
    if whole and space[LEARNING_RATE] == DEFAULT_LEARNING_RATES.get(optimizer):
        return {**space, LEARNING_RATE: DEFAULT}
    return space


def _possible_optimizers(space: Space, optimizer: Any) -> list[str]:
    """Return the optimizers that trials may have, the configured one where none is searched."""
    given = space.get(OPTIMIZER)
    choices = given.get("choices") if isinstance(given, Mapping) else None
    names = choices if isinstance(choices, list | tuple) else [optimizer]
    known = [str(name).casefold() for name in names]
    return [name for name in known if name in DEFAULT_LEARNING_RATES] or ["sgd"]


def _complete_setting(key: str, given: Any, optimizers: Sequence[str]) -> Any:
    """Return the range or choices of one setting, or the list of them."""
    if (
        isinstance(given, list | tuple)
        and given
        and all(isinstance(one, Mapping) for one in given)
    ):
        return [complete_range(f"{key}[{n}]", key, one, optimizers) for n, one in enumerate(given)]
    if given == DEFAULT:
        given = defaults_of(key, optimizers)
        if isinstance(given, list):
            return given
    if not isinstance(given, Mapping):
        raise ConfigurationError(no_range(key, given))
    return complete_range(key, key, given, optimizers)
