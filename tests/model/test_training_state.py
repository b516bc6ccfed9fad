import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from model.configuration import OptimizationConfig
from model.evaluation import Batch, Metrics
from model.training import train_epochs
from model.training_state import EpochResult, TrainingState, evaluated_weights

StateBuilder = Callable[..., TrainingState]
BatchBuilder = Callable[[int], list[Batch]]


def result(epoch: int, *, macro_f1: float) -> EpochResult:
    metrics = Metrics(loss=1.0, accuracy=0.5, top5_accuracy=0.9, macro_f1=macro_f1)
    return EpochResult(epoch, metrics, metrics, 0.1, 1.0, 2.0, 3.0)


def saved(state: TrainingState) -> dict[str, Any]:
    """Return the state as a checkpoint file gives it back."""
    file = io.BytesIO()
    torch.save(state.state_dict(), file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


@pytest.mark.parametrize(
    "changes",
    [{"optimizer": "sgd"}, {"optimizer": "adam"}, {"optimizer": "adamw"}, {"ema_decay": 0.9}],
)
def test_state_dict_saved_and_loaded_restores_everything(
    build_state: StateBuilder, batches_of: BatchBuilder, changes: dict[str, Any]
) -> None:
    optimization = OptimizationConfig.model_validate(changes)
    state = build_state(optimization)
    with closing(
        train_epochs(state, batches_of, lambda: batches_of(0), n_epochs=2, seed=1)
    ) as epochs:
        list(epochs)
    plain = saved(state)
    other = build_state(optimization, seed=2)
    other.load_state_dict(plain)
    assert other.history == state.history
    assert (other.epochs_done, other.best) == (2, state.best)
    assert other.schedule.state_dict() == state.schedule.state_dict()
    for name, tensor in state.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name]), name
    for name, tensor in evaluated_weights(plain).items():
        assert torch.equal(tensor, other.evaluated_network.state_dict()[name]), name
    for key, values in state.optimizer.state_dict()["state"].items():
        for name, value in values.items():
            assert torch.equal(value, other.optimizer.state_dict()["state"][key][name])


def test_state_dict_tells_epochs_and_best_without_a_network(build_state: StateBuilder) -> None:
    state = build_state()
    assert (state.state_dict()["epochs_done"], state.state_dict()["best"]) == (0, None)
    state.history = [result(1, macro_f1=0.2), result(2, macro_f1=0.4), result(3, macro_f1=0.4)]
    plain = saved(state)
    assert plain["epochs_done"] == 3
    assert plain["best"] == {"epoch": 2, "macro_f1": 0.4}


@pytest.mark.parametrize(
    ("scores", "patience_epochs", "is_over"),
    [
        ([], 1, False),
        ([0.1, 0.2, 0.3], None, False),
        ([0.1, 0.2, 0.3, 0.3], None, True),
        ([0.3, 0.2], 2, False),
        ([0.3, 0.2, 0.3], 2, True),
        ([0.3, 0.2, 0.4], 2, False),
    ],
)
def test_run_is_over_at_its_length_or_when_its_patience_ends(
    build_state: StateBuilder, scores: list[float], patience_epochs: int | None, is_over: bool
) -> None:
    state = build_state()
    state.history = [result(epoch, macro_f1=score) for epoch, score in enumerate(scores, start=1)]
    assert state.is_over(n_epochs=4, patience_epochs=patience_epochs) == is_over


def test_load_state_dict_live_state_shares_no_tensor(build_state: StateBuilder) -> None:
    source, target = build_state(), build_state()
    source.network(torch.randn(2, 3, 8, 8)).sum().backward()
    source.optimizer.step()
    target.load_state_dict(source.state_dict())
    storages = [
        {
            value.data_ptr()
            for values in state.optimizer.state.values()
            for value in values.values()
        }
        for state in (source, target)
    ]
    assert storages[0] and storages[0].isdisjoint(storages[1])


def test_load_state_dict_of_another_schedule_is_rejected(build_state: StateBuilder) -> None:
    with pytest.raises(ValueError, match=r"'n_steps': 15.*for .*'n_steps': 12.*keep n_epochs"):
        build_state().load_state_dict(build_state(n_epochs=5).state_dict())


def test_load_state_dict_with_averaged_weights_on_one_side_is_rejected(
    build_state: StateBuilder,
) -> None:
    plain, averaging = build_state(), build_state(OptimizationConfig(ema_decay=0.9))
    with pytest.raises(ValueError, match="received one without them: keep ema_decay"):
        averaging.load_state_dict(plain.state_dict())
    with pytest.raises(ValueError, match="received one with them: keep ema_decay"):
        plain.load_state_dict(averaging.state_dict())


def test_epoch_result_as_dict_reads_back_equal() -> None:
    original = result(3, macro_f1=0.25)
    assert EpochResult.from_dict(asdict(original)) == original
    assert replace(original, epoch=4) != original


def test_build_state_seed_decides_the_weights_and_leaves_torch_alone(
    build_state: StateBuilder,
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = build_state(seed=1), build_state(seed=1), build_state(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [state.network.state_dict()["stem.0.weight"] for state in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
