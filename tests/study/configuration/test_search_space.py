from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.configuration.config import StudyConfig, validated
from study.configuration.points import configured_by
from study.configuration.search_space import is_conditional, read_searched, suggest
from study.configuration.spaces.completion import NAMED_SPACES
from study.trial.samplers import build_sampler
from tests.study.searches import CONDITIONAL

CONFIGURED = {
    "network": {"blocks": [3, 2, 1], "dropout": 0.25},
    "optimization": {"learning_rate": 0.05, "weight_decay": 0.0},
}


def searching(space: Any, **optimization: Any) -> StudyConfig:
    search = {"space": space, "budget": {"trials": 1}}
    fitted = CONFIGURED["optimization"] | optimization
    return validated({**CONFIGURED, "optimization": fitted, "search": search})


def random_trial(seed: int) -> optuna.Trial:
    optuna_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return optuna_study.ask()


@given(
    seed=st.integers(0, 1000),
    space=st.sampled_from(sorted(NAMED_SPACES)),
    optimizer=st.sampled_from(["sgd", "adam", "adamw"]),
)
@settings(max_examples=40)
def test_trial_stays_within_the_ranges_and_leaves_the_rest_configured(
    seed: int, space: str, optimizer: str
) -> None:
    trial = random_trial(seed)
    config = searching(space, optimizer=optimizer)
    found, asked = configured_by(trial, config)
    assert set(asked) == set(NAMED_SPACES[space])
    low, high = (1e-3, 1.0) if optimizer == "sgd" else (1e-5, 1e-2)
    fitted, network = found.optimization, found.network
    if "optimization.learning_rate" in asked:
        assert low <= fitted.learning_rate <= high
        assert 1e-6 <= fitted.weight_decay <= 1e-2
    else:
        assert fitted == config.optimization
    if "network.blocks" in asked:
        assert all(1 <= blocks <= 4 for blocks in network.blocks)
        assert 0 <= network.dropout <= 0.5
    else:
        assert network == config.network
    assert (found.search, found.augmentation) == (config.search, config.augmentation)


@pytest.mark.parametrize("n_stages", [1, 3, 5])
def test_blocks_of_every_stage_are_asked_for_in_their_order(n_stages: int) -> None:
    trial = random_trial(2)
    network = {"blocks": [2] * n_stages, "widths": [4] * n_stages}
    space = {"network.blocks": "default"}
    config = validated({"network": network, "search": {"space": space}})
    found, _ = configured_by(trial, config)
    assert [*trial.params] == [f"network.blocks.{stage}" for stage in range(1, n_stages + 1)]
    assert found.network.blocks == tuple(trial.params.values())


def test_stages_follow_the_widths_of_the_trial() -> None:
    widths = [[4, 8], [4, 8, 8, 16, 16]]
    space = {"network.widths": {"choices": widths}, "network.blocks": {"low": 1, "high": 2}}
    config = searching(space)
    assert is_conditional(config.search)
    seen = set()
    for seed in range(8):
        found, _ = configured_by(random_trial(seed), config)
        seen.add(len(found.network.widths))
        assert len(found.network.blocks) == len(found.network.widths)
    assert seen == {2, 5}


def test_resumed_trial_returns_what_it_had() -> None:
    trial = random_trial(1)
    config = searching(CONDITIONAL)
    again = optuna.Trial(trial.study, trial._trial_id)
    assert suggest(trial, config) == suggest(again, config)


def test_kinds_of_settings_are_asked_for_as_what_they_are() -> None:
    space = {
        "optimization.batch_size": {"low": 16, "high": 64, "log": True},
        "optimization.label_smoothing": {"low": 0, "high": 0.2},
        "optimization.gradient_clip_norm": {"choices": ["none", 1]},
        "network.blocks": {"choices": [[1, 1, 1], [2, 2, 2]]},
        "network.batch_norm": {"choices": [True, False]},
    }
    trial = random_trial(5)
    found, asked = configured_by(trial, searching(space))
    kinds = {name: type(one).__name__ for name, one in trial.distributions.items()}
    assert kinds == {
        "optimization.batch_size": "IntDistribution",
        "optimization.label_smoothing": "FloatDistribution",
        "optimization.gradient_clip_norm": "CategoricalDistribution",
        "network.blocks": "CategoricalDistribution",
        "network.batch_norm": "CategoricalDistribution",
    }
    whole = trial.distributions["optimization.batch_size"]
    assert isinstance(whole, optuna.distributions.IntDistribution) and whole.log
    assert isinstance(found.optimization.batch_size, int)
    assert trial.params["network.blocks"] == "-".join(map(str, asked["network.blocks"]))
    assert found.network.blocks == tuple(asked["network.blocks"])


def test_setting_is_drawn_only_where_its_condition_holds() -> None:
    config = searching(CONDITIONAL)
    for seed in range(12):
        trial = random_trial(seed)
        found, asked = configured_by(trial, config)
        if found.optimization.optimizer == "sgd":
            assert "optimization.learning_rate:sgd" in trial.params
            assert 1e-3 <= found.optimization.learning_rate <= 1
            assert found.optimization.momentum == trial.params["optimization.momentum"]
        else:
            assert "optimization.learning_rate:adamw" in trial.params
            assert 1e-5 <= found.optimization.learning_rate <= 1e-2
            assert "optimization.momentum" not in asked
            assert found.optimization.momentum == 0.9


def test_conditions_come_before_what_depends_on_them_whatever_their_order() -> None:
    config = searching(dict(reversed(CONDITIONAL.items())))
    order = [one.setting for one in read_searched(config.search)]
    assert order.index("optimization.optimizer") < order.index("optimization.momentum")
    assert config.search == searching(CONDITIONAL).search


def test_tpe_learns_all_parameters_of_a_conditional_space_together() -> None:
    config = searching(CONDITIONAL)
    optuna_study = optuna.create_study(direction="maximize")
    for number in range(14):
        optuna_study.sampler = build_sampler(config.search, seed=3, number=number)
        trial = optuna_study.ask()
        found, _ = configured_by(trial, config)
        optuna_study.tell(trial, -abs(found.optimization.momentum - 0.7))
    sampler = build_sampler(config.search, seed=3, number=14)
    space = sampler.infer_relative_search_space(optuna_study, optuna_study.trials[0])
    assert {"optimization.learning_rate:sgd", "optimization.learning_rate:adamw"} <= set(space)
    assert {"optimization.momentum", "optimization.optimizer"} <= set(space)
