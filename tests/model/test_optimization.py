import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from model.configuration import NetworkConfig, OptimizationConfig
from model.network import build_network
from model.optimization import WarmupThenAnneal, build_optimizer, build_schedule


def learning_rates(config: OptimizationConfig, *, n_epochs: int, steps: int) -> list[float]:
    """Return the rate of every step, and last the one after them."""
    weight = nn.Linear(1, 1)
    optimizer = build_optimizer(weight, config)
    schedule = build_schedule(optimizer, config, n_epochs=n_epochs, steps_per_epoch=steps)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(n_epochs * steps):
        optimizer.step()
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@given(
    n_epochs=st.integers(2, 12),
    steps=st.integers(1, 9),
    warmup_share=st.floats(0, 0.9),
    peak=st.floats(1e-5, 1.0),
)
def test_schedule_cosine_rises_to_the_peak_then_only_falls_to_zero(
    n_epochs: int, steps: int, warmup_share: float, peak: float
) -> None:
    warmup_epochs = warmup_share * (n_epochs - 1)
    config = OptimizationConfig(learning_rate=peak, warmup_epochs=warmup_epochs)
    rates = learning_rates(config, n_epochs=n_epochs, steps=steps)
    n_warmup = round(warmup_epochs * steps)
    rising, falling = rates[: n_warmup + 1], rates[n_warmup:]
    assert all(rate > 0 for rate in rates[:-1])
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert max(rates) == pytest.approx(peak)
    assert rates[-1] == 0.0


def test_schedule_constant_keeps_the_peak_after_warm_up() -> None:
    config = OptimizationConfig(schedule="constant", learning_rate=0.4, warmup_epochs=1)
    rates = learning_rates(config, n_epochs=2, steps=4)
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4])


@given(
    n_epochs=st.integers(2, 40),
    steps=st.integers(1, 4),
    restart_epochs=st.integers(1, 9),
    restart_factor=st.integers(1, 3),
    warmup_epochs=st.integers(0, 3),
)
def test_schedule_restarts_agree_with_torch_after_warm_up(
    n_epochs: int, steps: int, restart_epochs: int, restart_factor: int, warmup_epochs: int
) -> None:
    warmup_epochs = min(warmup_epochs, n_epochs - 1)
    config = OptimizationConfig(
        schedule="restarts",
        learning_rate=0.3,
        warmup_epochs=warmup_epochs,
        restart_epochs=restart_epochs,
        restart_factor=restart_factor,
    )
    rates = learning_rates(config, n_epochs=n_epochs, steps=steps)
    optimizer = SGD(nn.Linear(1, 1).parameters(), 0.3)
    peer = CosineAnnealingWarmRestarts(optimizer, restart_epochs * steps, restart_factor)
    expected = []
    for _ in range((n_epochs - warmup_epochs) * steps + 1):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        peer.step()
    assert rates[warmup_epochs * steps :] == pytest.approx(expected, abs=1e-12)
    assert rates[: warmup_epochs * steps] == sorted(rates[: warmup_epochs * steps])


def test_schedule_of_the_reference_restarts_after_25_and_65_epochs() -> None:
    config = OptimizationConfig(schedule="restarts", learning_rate=1.0, warmup_epochs=5)
    rates = learning_rates(config, n_epochs=100, steps=1)
    peaks = [epoch for epoch, rate in enumerate(rates) if rate == 1.0]
    assert peaks == [4, 5, 25, 65]
    assert max(rates[24], rates[64]) < 0.01


def test_schedule_half_way_is_at_half_the_peak() -> None:
    config = OptimizationConfig(learning_rate=1.0, warmup_epochs=0)
    rates = learning_rates(config, n_epochs=2, steps=2)
    assert rates == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0])


def test_schedule_warm_up_as_long_as_the_run_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"warmup_epochs must be shorter .* received 2\.0"):
        learning_rates(OptimizationConfig(warmup_epochs=2), n_epochs=2, steps=3)


def test_schedule_stepped_beyond_its_run_is_rejected() -> None:
    with pytest.raises(ValueError, match="covers 6 steps, received step 8"):
        WarmupThenAnneal(n_warmup_steps=0, n_steps=6, cosine=False)(7)


@pytest.mark.parametrize(
    ("name", "optimizer_class"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW)]
)
def test_optimizer_configured_name_gives_its_class_and_rate(
    name: str, optimizer_class: type[torch.optim.Optimizer]
) -> None:
    config = OptimizationConfig.model_validate({"optimizer": name, "learning_rate": 0.02})
    optimizer = build_optimizer(nn.Linear(2, 2), config)
    assert type(optimizer) is optimizer_class
    assert optimizer.defaults["lr"] == 0.02


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_optimizer_sgd_is_nesterov_where_there_is_momentum(momentum: float) -> None:
    optimizer = build_optimizer(nn.Linear(2, 2), OptimizationConfig(momentum=momentum))
    assert optimizer.defaults["momentum"] == momentum
    assert optimizer.defaults["nesterov"] == (momentum > 0)


@pytest.mark.parametrize(("decay_norm_and_bias", "expected"), [(False, 0.0), (True, 0.01)])
def test_optimizer_norms_and_biases_are_decayed_only_where_asked(
    decay_norm_and_bias: bool, expected: float
) -> None:
    network = build_network(NetworkConfig(widths=(4, 4, 4)), n_classes=3)
    config = OptimizationConfig(weight_decay=0.01, decay_norm_and_bias=decay_norm_and_bias)
    optimizer = build_optimizer(network, config)
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    for name, parameter in network.named_parameters():
        is_kernel = parameter.ndim > 1
        assert decay[id(parameter)] == (0.01 if is_kernel else expected), name
