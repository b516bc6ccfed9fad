"""The moving average against its definition, tensor by tensor."""

import copy
from collections.abc import Callable
from contextlib import closing

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from model.configuration import DeviceConfig, OptimizationConfig
from model.device import resolve_execution
from model.evaluation import Batch, evaluate
from model.training import train_epochs
from model.training_state import TrainingState
from model.weight_averaging import AveragedNetwork

CPU = resolve_execution(DeviceConfig(device="cpu"))


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.floats(0.05, 0.999))
def test_average_follows_its_definition_with_a_rising_decay(
    values: list[float], decay: float
) -> None:
    learning = nn.BatchNorm1d(1)
    averaged = AveragedNetwork(learning, decay=decay, execution=CPU)
    expected = 1.0
    for n, value in enumerate(values):
        with torch.no_grad():
            learning.weight.fill_(value)
            learning.get_buffer("running_var").fill_(value)
        averaged.update()
        kept = min(decay, (1 + n) / (10 + n))
        expected = kept * expected + (1 - kept) * value
    assert averaged.n_updates == len(values)
    for name in ("weight", "running_var"):
        average = averaged.network.state_dict()[name].item()
        assert average == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_average_of_a_run_is_evaluated_and_the_run_learns_as_without_it(
    build_state: Callable[..., TrainingState], batches_of: Callable[[int], list[Batch]]
) -> None:
    plain, averaging = build_state(), build_state(OptimizationConfig(ema_decay=0.99))
    for state in (plain, averaging):
        with closing(
            train_epochs(state, batches_of, lambda: batches_of(0), n_epochs=2, seed=1)
        ) as epochs:
            list(epochs)
    assert plain.averaged is None and averaging.averaged is not None
    assert plain.evaluated_network is plain.network
    for name, tensor in plain.network.state_dict().items():
        assert torch.equal(tensor, averaging.network.state_dict()[name]), name
    for one, other in zip(plain.history, averaging.history, strict=True):
        assert one.train == other.train
        assert (one.gradient_norm, one.learning_rate) == (other.gradient_norm, other.learning_rate)
    assert averaging.averaged.n_updates == 6
    measured = evaluate(
        averaging.averaged.network, batches_of(0), n_classes=7, execution=averaging.execution
    )
    assert averaging.history[-1].validation == measured.metrics != plain.history[-1].validation


def test_average_shares_no_tensor_and_needs_no_gradient() -> None:
    learning = nn.BatchNorm1d(3)
    averaged = AveragedNetwork(learning, decay=0.9, execution=CPU)
    other = AveragedNetwork(learning, decay=0.9, execution=CPU)
    other.load_state_dict(averaged.state_dict())
    networks = (learning, averaged.network, other.network)
    pointers = {tensor.data_ptr() for one in networks for tensor in one.state_dict().values()}
    assert len(pointers) == 3 * len(learning.state_dict())
    assert not any(parameter.requires_grad for parameter in averaged.network.parameters())
    assert copy.deepcopy(averaged.state_dict())["n_updates"] == 0
