import functools
import math
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model.configuration import NetworkConfig
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


def test_network_stages_halve_the_resolution_twice() -> None:
    network = build_network(NetworkConfig(widths=(4, 6, 8)), n_classes=5)
    features_BCHW = network.stem(torch.randn(1, 3, 64, 64))
    shapes = [features_BCHW.shape]
    for stage in network.stages:
        features_BCHW = stage(features_BCHW)
        shapes.append(features_BCHW.shape)
    assert shapes == [(1, 4, 64, 64), (1, 4, 64, 64), (1, 6, 32, 32), (1, 8, 16, 16)]


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
