"""Points on a grid: every combination of the values of some settings."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from model.configuration import NetworkConfig, OptimizationConfig
from study.configuration.yaml_values import parse_yaml
from study.errors import ConfigurationError

LEARNING_RATE = "optimization.learning_rate"
WEIGHT_DECAY = "optimization.weight_decay"

Axes = Mapping[str, Sequence[Any]]

WEIGHT_DECAYS = (0.0, 1e-5, 1e-4, 1e-3)
ADAM_LEARNING_RATES = (1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2)
# Adam divides its steps by the size of the gradient, SGD does not.
SGD_LEARNING_RATES = (1e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0)


def mini_grid_axes(network: NetworkConfig) -> Axes:
    """Return two dropouts by two depths, for a network of any number of stages."""
    n_stages = len(network.widths)
    return {"network.dropout": (0.1, 0.3), "network.blocks": ((2,) * n_stages, (3,) * n_stages)}


def lr_wd_axes(optimization: OptimizationConfig) -> Axes:
    """Return the learning rates and weight decays of a sweep, 28 points, for an optimizer."""
    is_sgd = optimization.optimizer == "sgd"
    rates = SGD_LEARNING_RATES if is_sgd else ADAM_LEARNING_RATES
    return {LEARNING_RATE: rates, WEIGHT_DECAY: WEIGHT_DECAYS}


def grid(axes: Axes) -> list[dict[str, Any]]:
    """Return every combination; the last axis varies fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def parse_axes(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Return the axes of texts such as `network.dropout=0.1,0.3`, the values in YAML.

    Raises:
        ConfigurationError: If one is no axis, or two are of the same setting.
    """
    axes: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip()
        if not key or not equals or not values.strip():
            raise ConfigurationError(
                f"--axis must have the form section.key=value,value, got {text!r}: "
                "for example --axis network.dropout=0.1,0.3"
            )
        if key in axes:
            raise ConfigurationError(
                f"--axis must name a setting once, got {key} twice: give all its values in one"
            )
        axes[key] = parse_yaml(f"[{values}]", f"--axis {key}")
    return axes


def replaced(axes: Axes, others: Axes) -> Axes:
    """Return axes with other values for some of them.

    Raises:
        ConfigurationError: If the others name an axis that is not there.
    """
    foreign = sorted(others.keys() - axes.keys())
    if foreign:
        raise ConfigurationError(
            f"--axis of this sweep must be {' or '.join(axes)}, got {foreign[0]}: "
            "sweep other settings with `study grid`"
        )
    return {**axes, **others}
