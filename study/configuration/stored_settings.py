"""Which settings a study freezes, and what its stored configuration means to newer code."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from study.configuration.config import MAPPINGS, StudyConfig
from study.configuration.dotted_keys import assign
from study.configuration.spaces.completion import DEFAULT, GIVEN, complete, expand

OPERATIONAL: dict[str, Any] = {
    "name": True,
    "description": True,
    "storage": True,
    "protocol": True,
    "final": True,
    "workers": {"n_workers", "per_gpu"},
    "execution": {"device"},
    "data": {"source", "cache"},
    "search": {"budget"},
}
ADDED_SETTINGS: dict[str, Any] = {
    "data.configuration": None,
    "data.splits": None,
    "data.label_file": None,
    "data.resize": "crop",
    "data.value_range": None,
    "data.confirm_fraction": 0.0,
    "search.rungs": [0.1, 0.25, 0.5],
    "search.param_names": "short",
    "search.audit_fraction": 0.0,
    "confirm.candidates": 3,
    "confirm.selection_seeds": 2,
    "confirm.race": False,
    "confirm.verdict_seeds": 5,
    "confirm.alpha": 0.05,
    "confirm.margin": 0.0,
    "network.stem.stride": 1,
    "network.stem.pool": False,
}
"""What studies stored before a frozen setting was added mean, by its dotted key.

Whoever adds a setting, or a range of the search, says here which value older studies ran with. A
study that lacks a setting without such an entry is rejected: its default would change trials that
are still to come.
"""


def frozen_part(config: StudyConfig) -> dict[str, Any]:
    """Return the settings that a study fixes, as JSON values."""
    return config.model_dump(mode="json", exclude=OPERATIONAL)


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration in today's form, with what `ADDED_SETTINGS` say it means.

    What an early version stored as `search.n_trials` is its budget in trials.
    """
    values = deepcopy(dict(stored))
    if "n_trials" in values["search"]:
        values["search"]["budget"] = {"trials": values["search"].pop("n_trials")}
    _put_ranges_into_space(values)
    for key, meaning in ADDED_SETTINGS.items():
        if not _holds(values, key):
            assign(values, key, meaning)
    return values


def _put_ranges_into_space(values: dict[str, Any]) -> None:
    """Make a named space and the ranges beside it, as earlier versions stored them, one space."""
    search = values.get("search")
    if not isinstance(search, dict) or "ranges" not in search:
        return
    ranges = search.pop("ranges")
    space = expand(search["space"])
    if space == GIVEN:
        return
    whole = {key: ranges.get(key.rpartition(".")[2]) or DEFAULT for key in space}
    search["space"] = complete(whole, optimizer=values["optimization"]["optimizer"])


def missing_settings(stored: Mapping[str, Any]) -> list[str]:
    """Return the frozen settings, by dotted key, that a stored configuration says nothing of."""
    values = completed(stored)
    return [key for key in _leaves(frozen_part(StudyConfig())) if not _holds(values, key)]


def _holds(values: Any, dotted_key: str) -> bool:
    for part in dotted_key.split("."):
        if not isinstance(values, Mapping):  # a whole section that was stored as none
            return True
        if part not in values:
            return False
        values = values[part]
    return True


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping) and f"{prefix}{key}" not in MAPPINGS:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
