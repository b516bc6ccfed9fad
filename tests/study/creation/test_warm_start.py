from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.configuration.config import StudyConfig, validated
from study.configuration.dotted_keys import value_at
from study.configuration.fixed_trial import FixedTrial, OutOfRangeError, point_in
from study.configuration.points import configured_by
from study.creation.warm_start import other_experiment
from tests.study.searches import CONDITIONAL, configured

RATE, DECAY = "optimization.learning_rate", "optimization.weight_decay"
BLOCKS, DROPOUT = "network.blocks", "network.dropout"
RATES = (0.001, 0.01, 0.1, 0.5, 1.0)
DECAYS = (1e-6, 1e-4, 1e-3, 1e-2)
COUNTS = (1, 2, 3, 4)
DROPOUTS = (0.0, 0.1, 0.25, 0.5)
COUNTS_OF_STAGES = st.lists(st.sampled_from(COUNTS), min_size=2, max_size=3).map(tuple)


@st.composite
def drawn(draw: st.DrawFn) -> dict[str, Any]:
    return {
        RATE: draw(st.sampled_from(RATES) | st.floats(1e-4, 2.0)),
        DECAY: draw(st.sampled_from(DECAYS) | st.floats(1e-7, 0.1)),
        BLOCKS: draw(COUNTS_OF_STAGES),
        DROPOUT: draw(st.sampled_from(DROPOUTS) | st.floats(0.0, 0.9)),
    }


@st.composite
def spaces(draw: st.DrawFn) -> StudyConfig:
    def ends(values: tuple[Any, ...]) -> dict[str, Any]:
        low, high = sorted(draw(st.permutations(values))[:2])
        return {"low": low, "high": high, "log": draw(st.booleans()) and low > 0}

    within = {
        RATE: ends(RATES),
        DECAY: ends(DECAYS),
        BLOCKS: ends(COUNTS),
        DROPOUT: ends(DROPOUTS),
    }
    searched = draw(st.sets(st.sampled_from(sorted(within))))
    blocks, dropout = draw(COUNTS_OF_STAGES), draw(st.sampled_from(DROPOUTS))
    return validated(
        {
            "network": {"blocks": blocks, "widths": [4] * len(blocks), "dropout": dropout},
            "optimization": {
                "learning_rate": draw(st.sampled_from(RATES)),
                "weight_decay": draw(st.sampled_from(DECAYS)),
            },
            "search": {
                "space": {key: within[key] for key in searched},
                "budget": {"trials": 1},
            },
        }
    )


def belongs(experiment: StudyConfig, config: StudyConfig) -> bool:
    """Say the rule in other words."""
    if len(experiment.network.widths) != len(config.network.widths):
        return False
    for key in (RATE, DECAY, BLOCKS, DROPOUT):
        value, within = value_at(experiment, key), config.search.searched.get(key)
        values = value if isinstance(value, tuple) else (value,)
        if within is None and value != value_at(config, key):
            return False
        if (
            within is not None
            and not within["low"] <= min(values) <= max(values) <= within["high"]
        ):
            return False
    return True


def trained(config: StudyConfig, settings: dict[str, Any]) -> StudyConfig:
    """Return the configuration of a trial with these settings, whatever was searched."""
    widths = [4] * len(settings[BLOCKS])
    return config.replacing({**settings, "network.widths": widths})


@given(drawn(), spaces())
@settings(max_examples=150)
def test_point_in_takes_exactly_the_points_of_the_space(
    found: dict[str, Any], config: StudyConfig
) -> None:
    experiment = trained(config, found)
    try:
        point_in(config, experiment)
    except OutOfRangeError:
        assert not belongs(experiment, config)
    else:
        assert belongs(experiment, config)


def draw_one(config: StudyConfig, seed: int) -> tuple[optuna.Trial, StudyConfig]:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    return trial, configured_by(trial, config)[0]


@given(spaces(), st.integers(0, 1000))
@settings(max_examples=60)
def test_every_draw_is_a_point_of_its_own_space_as_optuna_stores_it(
    config: StudyConfig, seed: int
) -> None:
    trial, experiment = draw_one(config, seed)
    point = point_in(config, experiment)
    assert point.params == trial.params
    assert point.distributions == trial.distributions
    assert {k: type(v) for k, v in point.params.items()} == {
        k: type(v) for k, v in trial.params.items()
    }


@pytest.mark.parametrize("seed", range(6))
def test_draw_of_a_conditional_space_is_a_point_of_it(
    tiny_settings: dict[str, Any], seed: int
) -> None:
    config = configured(tiny_settings, {"search.space": CONDITIONAL})
    trial, experiment = draw_one(config, seed)
    point = point_in(config, experiment)
    assert point.params == trial.params
    assert point.distributions == trial.distributions


@given(spaces(), spaces(), st.integers(0, 1000))
@settings(max_examples=100)
def test_point_of_one_space_keeps_its_hyperparameters_in_another(
    old: StudyConfig, new: StudyConfig, seed: int
) -> None:
    _, experiment = draw_one(old, seed)
    try:
        point = point_in(new, experiment)
    except OutOfRangeError:
        return
    again, _ = configured_by(FixedTrial(point.params), new)
    assert (again.network, again.optimization) == (experiment.network, experiment.optimization)


def test_point_without_a_value_is_outside() -> None:
    with pytest.raises(OutOfRangeError):
        FixedTrial({}).suggest_float("learning_rate", 0.1, 1.0)


SEARCHED = {
    "search.space": "lr-wd",
    "search.param_names": "short",
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
