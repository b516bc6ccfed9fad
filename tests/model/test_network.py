import functools
import math
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model.configuration import NetworkConfig, StemConfig
from model.network import Projection, ResidualBlock, build_network, count_parameters
from tests.tools.processes import ROOT

SMALL = {"blocks": (2, 1, 2), "widths": (4, 6, 8)}


@pytest.mark.parametrize(
    ("blocks", "n_parameters"),
    [((2, 2, 2), 2_826_504), ((3, 3, 3), 4_376_584), ((4, 4, 4), 5_926_664)],
)
def test_network_reference_shape_has_the_reference_parameter_count(
    blocks: tuple[int, int, int], n_parameters: int
) -> None:
    network = build_network(NetworkConfig(blocks=blocks), n_classes=200)
    assert count_parameters(network) == n_parameters


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "selu"])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_network_any_variant_gives_finite_logits_and_reaches_every_weight(
    activation: str, batch_norm: bool, residual: bool
) -> None:
    torch.manual_seed(0)
    config = NetworkConfig.model_validate(
        SMALL | {"activation": activation, "batch_norm": batch_norm, "residual": residual}
    )
    network = build_network(config, n_classes=5)
    logits_BC = network(torch.randn(4, 3, 16, 16))
    torch.autograd.backward(F.cross_entropy(logits_BC, torch.arange(4)))
    assert logits_BC.shape == (4, 5)
    assert logits_BC.isfinite().all()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("batch_norm", "residual"), [(False, True), (True, False)])
def test_network_option_off_leaves_its_parts_out(batch_norm: bool, residual: bool) -> None:
    config = NetworkConfig.model_validate(SMALL | {"batch_norm": batch_norm, "residual": residual})
    names = list(build_network(config, n_classes=5).state_dict())
    assert any("running_mean" in name for name in names) == batch_norm
    assert any("shortcut" in name for name in names) == residual


@pytest.mark.parametrize(
    ("stem", "widths", "sides"),
    [
        ({}, (4, 6, 8), [64, 64, 32, 16]),
        ({}, (4,), [64, 64]),
        ({"stride": 2}, (4, 6), [32, 32, 16]),
        ({"pool": True}, (4, 6), [32, 32, 16]),
        ({"stride": 2, "pool": True}, (4, 6, 6, 8, 8), [16, 16, 8, 4, 2, 1]),
    ],
)
def test_network_stem_halves_as_it_is_told_and_every_stage_but_the_first_once(
    stem: dict[str, Any], widths: tuple[int, ...], sides: list[int]
) -> None:
    blocks = (1,) * len(widths)
    config = NetworkConfig(stem=StemConfig(**stem), blocks=blocks, widths=widths)
    network = build_network(config, n_classes=5)
    features_BCHW = network.stem(torch.randn(2, 3, 64, 64))
    shapes = [features_BCHW.shape]
    for stage in network.stages:
        features_BCHW = stage(features_BCHW)
        shapes.append(features_BCHW.shape)
    channels = (widths[0], *widths)
    assert shapes == [(2, *each) for each in zip(channels, sides, sides, strict=True)]
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 5)


class FirstNetwork(nn.Module):
    """What was built before the stem had settings, and of three stages only."""

    def __init__(self, config: NetworkConfig, n_classes: int) -> None:
        super().__init__()
        width = config.widths[0]
        convolution = nn.Conv2d(3, width, 3, stride=1, padding=1, bias=False)
        self.stem = nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
        self.stages = nn.Sequential()
        for index, (n_blocks, stage_width) in enumerate(
            zip(config.blocks, config.widths, strict=True)
        ):
            stride = 1 if index == 0 else 2
            first = ResidualBlock(width, stage_width, stride=stride, config=config)
            others = (
                ResidualBlock(stage_width, stage_width, stride=1, config=config)
                for _ in range(n_blocks - 1)
            )
            self.stages.append(nn.Sequential(first, *others))
            width = stage_width
        self.head = nn.Linear(width, n_classes)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        features_BCHW: torch.Tensor = self.stages(self.stem(images_BCHW))
        logits_BC: torch.Tensor = self.head(features_BCHW.mean(dim=(2, 3)))
        return logits_BC


def test_network_with_default_stem_has_names_weights_and_logits_of_the_first_version() -> None:
    config = NetworkConfig(blocks=(1, 4, 2), widths=(8, 16, 32))  # those of the quickstart
    torch.manual_seed(42)
    network = build_network(config, n_classes=10)
    torch.manual_seed(42)
    first = FirstNetwork(config, 10)
    nn.init.normal_(first.head.weight, std=0.01)
    nn.init.zeros_(first.head.bias)
    for module in first.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    assert [*network.state_dict()] == [*first.state_dict()]
    for name, values in first.state_dict().items():
        assert torch.equal(network.state_dict()[name], values), name
    images_BCHW = torch.randn(2, 3, 32, 32)
    assert torch.equal(network.eval()(images_BCHW), first.eval()(images_BCHW))
    saved = first.state_dict()
    torch.manual_seed(7)
    build_network(config, n_classes=10).load_state_dict(saved)


def test_network_convolutions_carry_no_bias() -> None:
    network = build_network(NetworkConfig(batch_norm=False, widths=(4, 6, 8)), n_classes=5)
    assert [name for name, _ in network.named_parameters() if "bias" in name] == ["head.bias"]


def test_network_dropout_acts_on_whole_channels_in_training_only() -> None:
    network = build_network(NetworkConfig(dropout=0.5, widths=(64, 4, 4)), n_classes=5)
    dropout = network.get_submodule("stages.0.0.dropout")
    dropped_BC = (dropout(torch.ones(1, 64, 8, 8)) == 0).float().mean(dim=(2, 3))
    assert set(dropped_BC.flatten().tolist()) == {0.0, 1.0}
    network.eval()
    assert (dropout(torch.ones(1, 64, 8, 8)) == 1).all()


def test_network_zero_init_makes_each_block_its_shortcut() -> None:
    config = NetworkConfig(zero_init_last_norm=True, widths=(4, 6, 8))
    network = build_network(config, n_classes=5).eval()
    features_BCHW = torch.rand(2, 4, 8, 8)
    block = network.get_submodule("stages.0.1")
    assert isinstance(block, ResidualBlock)
    assert torch.equal(block(features_BCHW), features_BCHW)


def test_network_untrained_has_the_loss_of_a_uniform_guess() -> None:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(widths=(16, 32, 64)), n_classes=200)
    loss = F.cross_entropy(network(torch.randn(32, 3, 32, 32)), torch.randint(0, 200, (32,)))
    assert loss.item() == pytest.approx(math.log(200), abs=0.1)


def strided(network: nn.Module) -> nn.Module:
    """Let a network's projections convolve with a stride, as torch would."""

    def forward(projection: Projection, features_BCHW: torch.Tensor) -> torch.Tensor:
        return F.conv2d(features_BCHW, projection.weight, stride=projection._pick_every)

    for module in network.modules():
        if isinstance(module, Projection):
            module.forward = functools.partial(forward, module)
    return network


@pytest.mark.parametrize("size", [16, 21])
def test_projection_equals_a_strided_convolution_and_has_its_name(size: int) -> None:
    network = build_network(NetworkConfig(widths=(4, 6, 8)), n_classes=5).double().eval()
    weight = network.state_dict()["stages.1.0.shortcut.0.weight"]
    assert weight.shape == (6, 4, 1, 1)
    images_BCHW = torch.randn(2, 3, size, size).double()
    logits_BC = network(images_BCHW)
    assert torch.equal(logits_BC, strided(network)(images_BCHW))


def test_block_with_a_stride_keeps_channels_innermost_in_gradients() -> None:
    block = ResidualBlock(8, 16, stride=2, config=NetworkConfig())
    block.to(memory_format=torch.channels_last)
    images_BCHW = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last).requires_grad_()
    features_BCHW = images_BCHW.relu()
    kept: list[bool] = []
    features_BCHW.register_hook(
        lambda grad: kept.append(grad.is_contiguous(memory_format=torch.channels_last))
    )
    torch.autograd.backward(block(features_BCHW).sum())
    assert kept == [True]


SCANNED_THREADS = (1, 2, 3, 5, 6, 8)
SCANNED_SIZES = (16, 32, 42, 64)


def scan_gradients(
    width: int, batches: Sequence[int], sizes: Sequence[int], threads: Sequence[int]
) -> None:
    """Compare gradients in a process of its own, which a faulty kernel may kill."""
    lists = [",".join(map(str, values)) for values in ([width], batches, sizes, threads)]
    command = [sys.executable, "-m", "tests.tools.gradient_scan", *lists]
    scan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(scan.stdout)
    assert scan.returncode == 0, f"{scan.returncode} at {scan.stdout[-3000:]}{scan.stderr}"
    n_shapes = 2 * len(batches) * len(sizes) * len(threads)
    assert len(scan.stdout.splitlines()) == n_shapes


def test_gradients_where_a_strided_convolution_would_write_past_its_memory_are_right() -> None:
    scan_gradients(4, [20], [16], [1, 3])


# Wide networks have many channels and need no large batch.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "batches"),
    [(4, (1, 20, 33)), (8, (1, 20, 33)), (12, (2, 5, 33)), (16, (5, 7)), (24, (5,)), (48, (2,))],
)
def test_gradients_of_every_width_with_any_threads_last_batch_and_size_are_right(
    width: int, batches: tuple[int, ...]
) -> None:
    scan_gradients(width, batches, SCANNED_SIZES, SCANNED_THREADS)
