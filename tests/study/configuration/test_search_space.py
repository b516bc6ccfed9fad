import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.configuration import NetworkConfig, OptimizationConfig
from study.configuration.search_space import (
    SPACES,
    FloatRange,
    IntRange,
    RangesConfig,
    SpaceName,
    suggest,
)

NETWORK = NetworkConfig(blocks=(3, 2, 1), dropout=0.25)


def optimization(optimizer: str) -> OptimizationConfig:
    values = {"optimizer": optimizer, "learning_rate": 0.05, "weight_decay": 0.0}
    return OptimizationConfig.model_validate(values)


def random_trial(seed: int) -> optuna.Trial:
    optuna_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return optuna_study.ask()


@given(
    seed=st.integers(0, 1000),
    space=st.sampled_from(sorted(SPACES)),
    optimizer=st.sampled_from(["sgd", "adam", "adamw"]),
)
def test_suggest_stays_within_the_ranges_and_leaves_the_rest_configured(
    seed: int, space: SpaceName, optimizer: str
) -> None:
    trial = random_trial(seed)
    found = suggest(
        trial, space, RangesConfig(), network=NETWORK, optimization=optimization(optimizer)
    )
    low, high = (1e-3, 1.0) if optimizer == "sgd" else (1e-5, 1e-2)
    if "learning_rate" in SPACES[space]:
        assert low <= found.learning_rate <= high
        assert 1e-6 <= found.weight_decay <= 1e-2
    else:
        assert (found.learning_rate, found.weight_decay) == (0.05, 0.0)
    if "blocks" in SPACES[space]:
        assert all(1 <= blocks <= 4 for blocks in found.blocks)
        assert 0 <= found.dropout <= 0.5
    else:
        assert (found.blocks, found.dropout) == ((3, 2, 1), 0.25)
    assert bool(trial.params) == bool(SPACES[space])


@pytest.mark.parametrize("n_stages", [1, 3, 5])
def test_suggest_asks_for_the_blocks_of_every_stage_in_their_order(n_stages: int) -> None:
    trial = random_trial(2)
    network = NetworkConfig(blocks=(2,) * n_stages, widths=(4,) * n_stages)
    ask = {"network": network, "optimization": optimization("sgd")}
    found = suggest(trial, "blocks-dropout", RangesConfig(), **ask)
    names = [f"blocks_{stage}" for stage in range(1, n_stages + 1)]
    assert [*trial.params] == [*names, "dropout"]
    assert [*found.as_params()] == ["learning_rate", "weight_decay", "dropout", *names]
    assert found.blocks == tuple(trial.params[name] for name in names)
    changed, _ = found.applied_to(network, optimization("sgd"))
    assert NetworkConfig.model_validate(changed.model_dump()).blocks == found.blocks


def test_suggest_in_a_resumed_trial_returns_what_it_had() -> None:
    trial = random_trial(1)
    again = optuna.Trial(trial.study, trial._trial_id)
    ask = {"network": NETWORK, "optimization": optimization("sgd")}
    assert suggest(trial, "joint", RangesConfig(), **ask) == suggest(
        again, "joint", RangesConfig(), **ask
    )


def test_hyperparameters_applied_change_only_what_is_searched() -> None:
    found = suggest(
        random_trial(3), "joint", RangesConfig(), network=NETWORK, optimization=optimization("sgd")
    )
    network, fitted = found.applied_to(NETWORK, optimization("sgd"))
    assert (network.blocks, network.dropout) == (found.blocks, found.dropout)
    assert fitted.learning_rate == found.learning_rate
    assert network.model_copy(update={"blocks": (3, 2, 1), "dropout": 0.25}) == NETWORK


@pytest.mark.parametrize(
    ("low", "high", "log"), [(2.0, 1.0, False), (0.0, 1.0, True), (0.0, 0.0, True)]
)
def test_range_without_room_is_rejected(low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match="low must"):
        FloatRange(low=low, high=high, log=log)
    with pytest.raises(ValueError, match="low must"):
        IntRange(low=3, high=2)
