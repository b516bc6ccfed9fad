"""The settings that a trial may have of its own, their kinds, and why no other can be searched.

Must import neither torch nor optuna.
"""

import functools
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, create_model

from data.configuration import AugmentationConfig
from model.configuration import NetworkConfig, OptimizationConfig
from study.configuration.dotted_keys import leaves
from study.configuration.given_values import read_names, suggest_near
from study.configuration.validation import validate
from study.errors import ConfigurationError

SEARCHABLE = {
    key: field
    for section, model in (
        ("network", NetworkConfig),
        ("optimization", OptimizationConfig),
        ("augmentation", AugmentationConfig),
    )
    for key, field in leaves(model, f"{section}.")
}
"""What decides a trial and may differ between trials, by dotted key."""
PER_STAGE = "network.blocks"
"""The one setting whose range counts for each of its numbers: one for each width."""
WIDTHS = "network.widths"

_FOR_ALL = "it is the same for all trials of a study"
WHY_NOT = {
    "seed": "the best of several seeds is luck and no better setting",
    "data": "trials on other images cannot be compared",
    "evaluation": "trials that are measured in other ways cannot be compared",
    "execution": "it decides where and how fast a trial is trained, not what",
    "search": _FOR_ALL,
    "final": "it belongs to the final run, which trials know nothing of",
    "workers": _FOR_ALL,
    "protocol": _FOR_ALL,
    "storage": _FOR_ALL,
    "name": _FOR_ALL,
    "description": _FOR_ALL,
}
"""Why the settings of other sections cannot be searched."""


def reject_unsearchable(key: str) -> None:
    """Reject a setting that cannot be searched.

    Raises:
        ConfigurationError: If it is unknown, or the same for all trials; the message says why.
    """
    if key in SEARCHABLE:
        return
    section = key.partition(".")[0]
    if section in WHY_NOT:
        raise ConfigurationError(
            f"search.space cannot search {key}: {WHY_NOT[section]}; leave it out"
        )
    raise ConfigurationError(
        f"search.space must name settings of network, optimization or augmentation, got {key}: "
        f"{_remedy_of_unknown(key)}"
    )


def _remedy_of_unknown(key: str) -> str:
    """Return what to write in the place of a name that is no setting, or only a part of one."""
    within = [known for known in SEARCHABLE if known.startswith(f"{key}.")]
    if within:
        return f"write section and setting as one key, such as {within[0]}"
    ending = [known for known in SEARCHABLE if known.endswith(f".{key.rpartition('.')[2]}")]
    if ending:
        return f"did you mean {ending[0]}?"
    return suggest_near(key, SEARCHABLE, otherwise="see `study config`")


def number_type(key: str) -> type[int] | type[float] | None:
    """Return int or float where a range of the setting can be drawn from, else None."""
    if key == PER_STAGE:
        return int
    annotation = SEARCHABLE[key].annotation
    if get_origin(annotation) is tuple:
        return None
    kinds = {*(get_args(annotation) or (annotation,))} - {NoneType}
    return int if kinds == {int} else float if kinds == {float} else None


def plain_value(key: str, value: Any) -> Any:
    """Return a value of a setting as it is stored: a list for several numbers.

    Raises:
        ConfigurationError: If it has another type, or lies outside the setting's own bounds.
    """
    kind = _model_of(key)
    found = getattr(validate(kind, read_names(kind, {key: value})), key)
    return list(found) if isinstance(found, tuple) else found


@functools.cache
def _model_of(key: str) -> type[BaseModel]:
    field = SEARCHABLE[key]
    rules = ConfigDict(extra="forbid", allow_inf_nan=False)
    fields: dict[str, Any] = {key: (field.annotation, field)}
    return create_model("OneSetting", __config__=rules, **fields)
