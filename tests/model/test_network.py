import math

import pytest
import torch
import torch.nn.functional as F

from model.configuration import NetworkConfig
from model.network import ResidualBlock, build_network, count_parameters

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
