"""What the largest network of a study costs: a caution before hours go into too large images."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import product

from model.configuration import NetworkConfig
from model.cost import RESNET18_MACS, count_multiply_accumulates
from study.configuration.config import StudyConfig
from study.configuration.points import at_point, settings_of
from study.configuration.search_space import read_searched, suggest
from study.configuration.spaces.nearest import NearestTrial, picks
from study.configuration.spaces.settings import PER_STAGE, WIDTHS
from study.errors import ConfigurationError

MOST_PIXELS = 96
"""Largest side of an image that a stem at full resolution is meant for."""
MOST_RESNETS = 2
SHAPE = (PER_STAGE, WIDTHS, "network.stem.stride", "network.stem.pool")
"""Settings that decide what a network costs."""


def find_costly_stem(config: StudyConfig, *, n_classes: int) -> str | None:
    """Return a caution where the stem halves images too rarely for their size, else None.

    Args:
        config: Of the study.
        n_classes: Length of the logits.
    """
    sizes = {
        "data.image_size": config.data.image_size,
        "final.image_size": config.final.image_size,
    }
    setting = max(sizes, key=lambda key: sizes[key])
    image_size = sizes[setting]
    if image_size <= MOST_PIXELS:
        return None
    cost, network = max(
        (
            (count_multiply_accumulates(one, n_classes=n_classes, image_size=image_size), one)
            for one in _largest_networks(config)
        ),
        key=lambda pair: pair[0],
    )
    remedies = ["network.stem.stride=2"] if network.stem.stride == 1 else []
    remedies += [] if network.stem.pool else ["network.stem.pool=true"]
    if cost <= MOST_RESNETS * RESNET18_MACS or not remedies:
        return None
    return (
        f"caution: the largest network (blocks {'-'.join(map(str, network.blocks))}) takes "
        f"{cost / 1e9:.1f} GMAC for each image of {image_size} pixels, "
        f"{cost / RESNET18_MACS:.0f} times ResNet-18's {RESNET18_MACS / 1e9:.1f} at 224: "
        f"set {' and '.join(remedies)}, or a smaller {setting}"
    )


def _largest_networks(config: StudyConfig) -> Iterator[NetworkConfig]:
    """Yield the network of each given point, else those of the space that may be the largest."""
    if config.search.points:
        for point in config.search.points:
            yield at_point(config, settings_of(point)).network
        return
    shapes = [one for one in read_searched(config.search) if one.setting in SHAPE]
    for combined in product(*(picks(one) for one in shapes)):
        picked = {name: value for _, values in combined for name, value in values.items()}
        with suppress(ConfigurationError):  # no trial has this combination
            yield at_point(config, suggest(NearestTrial(config, picked), config)).network
