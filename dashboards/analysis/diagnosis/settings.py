"""The settings behind hyperparameters: their names, their bounds, and wider ranges within them.

Must not import torch.
"""

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from dashboards.analysis.diagnosis.remedies import fork_with
from dashboards.analysis.search_space import Hyperparameter
from dashboards.formatting import setting_name
from data.configuration import AugmentationConfig
from model.configuration import NetworkConfig, OptimizationConfig

SECTIONS: Mapping[str, type[BaseModel]] = {
    "network": NetworkConfig,
    "optimization": OptimizationConfig,
    "augmentation": AugmentationConfig,
}
SHORT_NAMES = {
    "learning_rate": "optimization.learning_rate",
    "weight_decay": "optimization.weight_decay",
    "dropout": "network.dropout",
}
"""Names of hyperparameters in studies of older versions."""
STAGE = re.compile(r"(?:network\.blocks\.|blocks_)(\d+)")
WIDENED_BY = 0.2
LEAST_GAP = 0.05
"""Both are parts of the range's width on its own scale."""


@dataclass(frozen=True)
class Bounds:
    """The values that a setting may have; `above` and `below` are no values themselves."""

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf


def range_setting(name: str) -> str:
    """Return the dotted setting that has the range of a hyperparameter.

    The stages of a network share one range: `network.blocks` is that of `network.blocks.1`, and
    of `blocks_1` in studies of older versions. A colon begins the condition of one of several
    ranges: `optimization.learning_rate:adamw`.
    """
    name = name.partition(":")[0]
    if STAGE.fullmatch(name):
        return "network.blocks"
    return SHORT_NAMES.get(name, name)


def spoken_name(name: str) -> str:
    """Return what people call a hyperparameter: `blocks of stage 1` for `network.blocks.1`."""
    name, _, condition = name.partition(":")
    stage = STAGE.fullmatch(name)
    shown = setting_name(range_setting(name)) + (f" of stage {stage.group(1)}" if stage else "")
    return f"{shown} ({condition})" if condition else shown


def describe_new_end(name: str, end: str, value: float) -> str:
    """Return what gives the range of a hyperparameter a new end, as code.

    Args:
        name: Optuna's name of the hyperparameter.
        end: high or low.
        value: The new end.
    """
    setting = f"search.space.{range_setting(name)}"
    _, colon, condition = name.partition(":")
    if not colon:
        return fork_with(f"{setting}.{end}", value)
    return f"`{end}: {value:.10g}` in the range of `{setting}` for {condition}"


@functools.cache
def find_bounds(setting: str) -> Bounds | None:
    """Return the bounds of a setting that is a number, or a list of numbers; else None."""
    section, *path = setting.split(".")
    if section not in SECTIONS or not path:
        return None
    whole = SECTIONS[section].model_json_schema()
    found = whole
    for name in path:
        found = found.get("properties", {}).get(name, {})
        if "$ref" in found:
            found = whole["$defs"][found["$ref"].rpartition("/")[2]]
    return _bounds(found)


def _bounds(described: Mapping[str, Any]) -> Bounds | None:
    kinds = [described, described.get("items", {}), *described.get("anyOf", ())]
    for kind in kinds:
        if kind.get("type") in ("number", "integer"):
            return Bounds(
                least=kind.get("minimum", -math.inf),
                most=kind.get("maximum", math.inf),
                above=kind.get("exclusiveMinimum", -math.inf),
                below=kind.get("exclusiveMaximum", math.inf),
            )
    return None


def widen(one: Hyperparameter, *, is_high: bool) -> float | None:
    """Return a new end for a range: a fifth of its width further out, within the bounds.

    Args:
        one: The range.
        is_high: Whether the upper end moves; else the lower one.

    Returns:
        None where the range ends at the bound, or as near to it as makes no difference, and where
        the setting is not known.
    """
    bounds = find_bounds(range_setting(one.name))
    if bounds is None:
        return None
    end = one.high if is_high else one.low
    target = _further(one, 1 if is_high else -1)
    inner, outer = (bounds.most, bounds.below) if is_high else (bounds.least, bounds.above)
    target = min(target, inner) if is_high else max(target, inner)
    reaches = target >= outer if is_high else target <= outer
    if reaches:  # a bound that is no value itself: half of the way to it
        if abs(outer - end) < LEAST_GAP * (one.high - one.low):
            return None
        target = (end + outer) / 2
    is_wider = target > end if is_high else target < end
    return target if is_wider else None


def _further(one: Hyperparameter, sign: int) -> float:
    end = one.high if sign > 0 else one.low
    if one.is_log:
        moved = end * max(2.0, (one.high / one.low) ** WIDENED_BY) ** sign
        moved = round_to(moved, 1, up=sign > 0)
    else:
        moved = round_to(end + sign * WIDENED_BY * (one.high - one.low), 2, up=sign > 0)
    if not one.is_integer:
        return moved
    whole = math.ceil(moved) if sign > 0 else math.floor(moved)
    return max(whole, end + 1) if sign > 0 else min(whole, end - 1)


def round_to(value: float, digits: int, *, up: bool) -> float:
    """Return a number with so many significant digits, the next above or below where it has more.

    Args:
        value: The number.
        digits: Significant digits.
        up: Whether it is rounded upwards.
    """
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    parts = round(value / unit, 6)  # what lies this near to a number of units is one
    return float(f"{(math.ceil(parts) if up else math.floor(parts)) * unit:.12g}")
