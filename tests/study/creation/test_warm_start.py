from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.configuration.config import StudyConfig, validated
from study.configuration.fixed_trial import FixedTrial, OutOfRangeError, point_in
from study.configuration.search_space import SPACES, Hyperparameters, suggest
from study.creation.warm_start import other_experiment
from tests.study.searches import configured

RATES = (0.001, 0.01, 0.1, 0.5, 1.0)
DECAYS = (1e-6, 1e-4, 1e-3, 1e-2)
COUNTS = (1, 2, 3, 4)
DROPOUTS = (0.0, 0.1, 0.25, 0.5)
BLOCKS = st.lists(st.sampled_from(COUNTS), min_size=2, max_size=3).map(tuple)


@st.composite
def hyperparameters(draw: st.DrawFn) -> Hyperparameters:
    return Hyperparameters(
        learning_rate=draw(st.sampled_from(RATES) | st.floats(1e-4, 2.0)),
        weight_decay=draw(st.sampled_from(DECAYS) | st.floats(1e-7, 0.1)),
        blocks=draw(BLOCKS),
        dropout=draw(st.sampled_from(DROPOUTS) | st.floats(0.0, 0.9)),
    )


@st.composite
def spaces(draw: st.DrawFn) -> StudyConfig:
    def ends(values: tuple[Any, ...]) -> dict[str, Any]:
        low, high = sorted(draw(st.permutations(values))[:2])
        return {"low": low, "high": high}

    space = draw(st.sampled_from(sorted(SPACES.keys() - {"given"})))
    blocks, dropout = draw(BLOCKS), draw(st.sampled_from(DROPOUTS))
    return validated(
        {
            "network": {"blocks": blocks, "widths": [4] * len(blocks), "dropout": dropout},
            "optimization": {
                "learning_rate": draw(st.sampled_from(RATES)),
                "weight_decay": draw(st.sampled_from(DECAYS)),
            },
            "search": {
                "space": space,
                "budget": {"trials": 1},
                "ranges": {
                    "learning_rate": draw(st.none() | st.just(ends(RATES) | {"log": True})),
                    "weight_decay": ends(DECAYS) | {"log": draw(st.booleans())},
                    "blocks": ends(COUNTS),
                    "dropout": ends(DROPOUTS),
                },
            },
        }
    )


def belongs(found: Hyperparameters, config: StudyConfig) -> bool:
    """Say the rule in other words."""
    searched, ranges = SPACES[config.search.space], config.search.ranges
    rates = ranges.learning_rate
    low, high = (rates.low, rates.high) if rates else (1e-3, 1.0)
    within = {
        "learning_rate": low <= found.learning_rate <= high,
        "weight_decay": ranges.weight_decay.low <= found.weight_decay <= ranges.weight_decay.high,
        "blocks": len(found.blocks) == len(config.network.widths)
        and ranges.blocks.low <= min(found.blocks) <= max(found.blocks) <= ranges.blocks.high,
        "dropout": ranges.dropout.low <= found.dropout <= ranges.dropout.high,
    }
    the_same = {
        "learning_rate": found.learning_rate == config.optimization.learning_rate,
        "weight_decay": found.weight_decay == config.optimization.weight_decay,
        "blocks": found.blocks == config.network.blocks,
        "dropout": found.dropout == config.network.dropout,
    }
    return all(within[name] if name in searched else the_same[name] for name in within)


@given(hyperparameters(), spaces())
@settings(max_examples=300)
def test_point_in_takes_exactly_the_points_of_the_space(
    found: Hyperparameters, config: StudyConfig
) -> None:
    try:
        point_in(config, found)
    except OutOfRangeError:
        assert not belongs(found, config)
    else:
        assert belongs(found, config)


@given(spaces(), st.integers(0, 1000))
def test_every_draw_is_a_point_of_its_own_space_as_optuna_stores_it(
    config: StudyConfig, seed: int
) -> None:
    sampler = optuna.samplers.RandomSampler(seed=seed)
    trial = optuna.create_study(sampler=sampler).ask()
    found = suggest(
        trial,
        config.search.space,
        config.search.ranges,
        network=config.network,
        optimization=config.optimization,
    )
    point = point_in(config, found)
    assert point.params == trial.params
    assert point.distributions == trial.distributions
    assert {k: type(v) for k, v in point.params.items()} == {
        k: type(v) for k, v in trial.params.items()
    }


@given(spaces(), spaces(), st.integers(0, 1000))
@settings(max_examples=200)
def test_point_of_one_space_keeps_its_hyperparameters_in_another(
    old: StudyConfig, new: StudyConfig, seed: int
) -> None:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()

    def asked(given: Any, config: StudyConfig) -> Hyperparameters:
        return suggest(
            given,
            config.search.space,
            config.search.ranges,
            network=config.network,
            optimization=config.optimization,
        )

    found = asked(trial, old)
    try:
        point = point_in(new, found)
    except OutOfRangeError:
        return
    assert asked(FixedTrial(point.params), new) == found


def test_point_without_a_value_is_outside() -> None:
    with pytest.raises(OutOfRangeError):
        FixedTrial({}).suggest_float("learning_rate", 0.1, 1.0)


SEARCHED = {
    "search.space": "lr-wd",
    "search.ranges.blocks": {"low": 1, "high": 4},
    "search.budget.trials": 9,
    "search.sampler": "random",
    "search.n_startup_trials": 7,
    "search.pruner": "median",
    "search.pruner_percentile": 50.0,
    "search.pruner_startup_trials": 2,
    "search.pruner_warmup_epochs": 1,
    "network.blocks": [1, 1, 1],
    "network.dropout": 0.3,
    "optimization.learning_rate": 0.2,
    "optimization.weight_decay": 0.01,
    "final.n_epochs": 9,
    "protocol.strict": True,
    "description": "another",
    "execution.device": "cpu",
}
EXPERIMENT = {
    "seed": 7,
    "data.image_size": 12,
    "data.split_seed": 1,
    "data.train_limit": 20,
    "augmentation.crop": "padded",
    "network.widths": [4, 8, 8],
    "network.stem.stride": 2,
    "network.stem.pool": True,
    "network.batch_norm": False,
    "optimization.optimizer": "adamw",
    "optimization.momentum": 0.8,
    "optimization.batch_size": 8,
    "execution.precision": "float32",
    "search.n_epochs": 4,
    "workers.threads": 2,
}


def test_further_stage_makes_another_experiment(tiny_settings: dict[str, Any]) -> None:
    stages = {"network.widths": [4, 4, 8, 8], "network.blocks": [2, 2, 2, 2]}
    found = other_experiment(validated(tiny_settings), configured(tiny_settings, stages))
    assert [one.key for one in found] == ["network.widths"]


@pytest.mark.parametrize("key", SEARCHED)
def test_setting_of_the_search_leaves_a_trial_the_same_experiment(
    tiny_settings: dict[str, Any], key: str
) -> None:
    new = configured(tiny_settings, {key: SEARCHED[key]})
    assert other_experiment(validated(tiny_settings), new) == []


@pytest.mark.parametrize("key", EXPERIMENT)
def test_setting_that_decides_a_result_makes_another_experiment(
    tiny_settings: dict[str, Any], key: str
) -> None:
    new = configured(tiny_settings, {key: EXPERIMENT[key]})
    assert [one.key for one in other_experiment(validated(tiny_settings), new)] == [key]
