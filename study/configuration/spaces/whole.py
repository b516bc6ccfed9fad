"""The search section of plain values, or of a configuration, with a whole space.

Must import neither torch nor optuna.
"""

from collections.abc import Mapping
from typing import Any

from model.configuration import OptimizationConfig
from study.configuration.sections import SearchConfig
from study.configuration.spaces.completion import complete, with_defaults_named
from study.configuration.spaces.edits import PREFIX
from study.errors import ConfigurationError


def with_whole_space(values: dict[str, Any]) -> dict[str, Any]:
    """Return values whose space is whole; sections of other kinds stay, and are rejected.

    Args:
        values: Sections of a configuration by name, as models or mappings.

    Raises:
        ConfigurationError: If the space is rejected, or ranges are given beside it.
    """
    search = values.get("search", {})
    if isinstance(search, SearchConfig) and isinstance(search.space, dict):
        return values  # of a configuration that was whole before
    given = dict(search) if isinstance(search, SearchConfig) else search
    if not isinstance(given, dict):
        return values
    if "ranges" in given:
        raise ConfigurationError(_moved_ranges(given["ranges"]))
    space = given.get("space", SearchConfig.model_fields["space"].default)
    optimization = values.get("optimization", OptimizationConfig())
    if isinstance(optimization, dict):
        optimizer = optimization.get("optimizer", OptimizationConfig().optimizer)
    else:
        optimizer = getattr(optimization, "optimizer", None)
    whole = complete(space, optimizer=optimizer)
    if whole == space:
        return values
    return {**values, "search": {**given, "space": whole}}


def _moved_ranges(ranges: Any) -> str:
    """Return the message on the section that ranges had in earlier versions."""
    setting = next(iter(ranges), "dropout") if isinstance(ranges, Mapping) else "dropout"
    section = "optimization" if setting in ("learning_rate", "weight_decay") else "network"
    key = f"{PREFIX}{section}.{setting}"
    return (
        f"search.ranges.{setting} is no setting any more, ranges belong to the space: give "
        f"--set '{key}={{low: A, high: B}}', or --set {key}.high=B"
    )


def name_defaults(values: dict[str, Any]) -> None:
    """Let the learning rates of a stored space follow another optimizer, as those of a new one.

    Args:
        values: A stored configuration, which is changed.
    """
    search, optimizer = values["search"], values["optimization"]["optimizer"]
    search["space"] = with_defaults_named(search["space"], optimizer=optimizer)
