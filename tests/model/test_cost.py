import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from model.configuration import NetworkConfig
from model.cost import RESNET18_MACS, count_multiply_accumulates
from model.network import ResidualNetwork, build_network, count_parameters

PHOTOS: dict[str, Any] = {
    "stem": {"stride": 2, "pool": True},
    "blocks": (2, 2, 2, 2),
    "widths": (64, 128, 256, 512),
}
BOTTOM: dict[str, Any] = {"blocks": (1,), "widths": (2,)}


def count(settings: dict[str, Any], *, image_size: int, n_classes: int = 5) -> int:
    config = NetworkConfig.model_validate(settings)
    return count_multiply_accumulates(config, n_classes=n_classes, image_size=image_size)


def count_by_torch(network: nn.Module, image_size: int) -> int:
    with FlopCounterMode(display=False) as counter:
        network.to("meta").eval()(torch.empty(1, 3, image_size, image_size, device="meta"))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize(
    ("changes", "by_hand"),
    [
        # 9x9 pixels see the stem (3x3, or 7x7 at 5x5), then two 3x3 convolutions; head: 2 x 5.
        ({}, 81 * 9 * (3 * 2 + 2 * 2 * 2) + 10),
        ({"stem": {"stride": 2}}, 25 * (49 * 3 * 2 + 9 * 2 * 2 * 2) + 10),
        ({"stem": {"pool": True}}, 81 * 9 * 3 * 2 + 25 * 9 * 2 * 2 * 2 + 10),
        ({"stem": {"stride": 2, "pool": True}}, 25 * 49 * 3 * 2 + 9 * 9 * 2 * 2 * 2 + 10),
        # The second stage is of 4 channels at 5x5, its shortcut a projection; head: 4 x 5.
        (
            {"blocks": (1, 1), "widths": (2, 4)},
            81 * 9 * (3 * 2 + 2 * 2 * 2) + 25 * (9 * (2 * 4 + 4 * 4) + 2 * 4) + 20,
        ),
        (
            {"blocks": (1, 1), "widths": (2, 4), "residual": False},
            81 * 9 * (3 * 2 + 2 * 2 * 2) + 25 * 9 * (2 * 4 + 4 * 4) + 20,
        ),
    ],
)
def test_count_of_a_small_network_is_that_by_hand(changes: dict[str, Any], by_hand: int) -> None:
    assert count(BOTTOM | changes, image_size=9) == by_hand


@pytest.mark.parametrize("stem", [{}, {"stride": 2}, {"pool": True}, PHOTOS["stem"]])
@pytest.mark.parametrize(
    "shape",
    [
        {"blocks": (2,), "widths": (4,)},
        {"blocks": (2, 1, 3), "widths": (4, 4, 6)},
        {"blocks": (1, 2, 1, 2), "widths": (4, 6, 6, 8), "residual": False},
    ],
)
def test_count_is_that_of_torch_for_the_network_that_is_built(
    stem: dict[str, Any], shape: dict[str, Any]
) -> None:
    settings = {"stem": stem, **shape}
    network = ResidualNetwork(NetworkConfig.model_validate(settings), n_classes=5)
    for image_size in (8, 21, 64):
        assert count(settings, image_size=image_size) == count_by_torch(network, image_size)


def test_photos_of_224_pixels_cost_eleven_resnets_with_the_default_stem() -> None:
    assert count({}, image_size=224, n_classes=1000) / 1e9 == pytest.approx(20.6, abs=0.05)


def test_photos_of_224_pixels_cost_what_resnet18_does_with_its_stem_and_stages() -> None:
    theirs = count_by_torch(resnet18(), 224)
    assert theirs == RESNET18_MACS
    assert count(PHOTOS, image_size=224, n_classes=1000) == pytest.approx(1.8e9, rel=0.1)
    assert count(PHOTOS, image_size=224, n_classes=1000) == theirs
    ours = build_network(NetworkConfig.model_validate(PHOTOS), n_classes=1000)
    assert count_parameters(ours) == count_parameters(resnet18())


def test_cost_is_counted_without_torch() -> None:
    program = "import sys, study.configuration.network_cost; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
