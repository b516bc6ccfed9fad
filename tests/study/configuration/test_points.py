from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.configuration.config import StudyConfig, validated
from study.configuration.fixed_trial import FixedTrial
from study.configuration.points import at_point, configured_by, given_keys, settings_of
from study.creation.queue import build_points, fill_queue
from study.errors import ConfigurationError, StudyError
from study.final.final_run import final_config
from study.trial.samplers import skip_draws

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "network.blocks": st.lists(st.integers(1, 8), min_size=3, max_size=3),
    "network.dropout": st.floats(0, 0.99),
    "network.batch_norm": st.booleans(),
    "network.activation": st.sampled_from(["relu", "gelu"]),
    "optimization.learning_rate": st.floats(1e-6, 10) | st.sampled_from(["1e-4", "1e-3"]),
    "optimization.weight_decay": st.sampled_from([0, 0.0, 1e-5, 1e-4]),
    "optimization.gradient_clip_norm": st.none() | st.floats(0.1, 5),
    "optimization.batch_size": st.integers(1, 512),
    "augmentation.crop": st.sampled_from(["none", "padded"]),
    "augmentation.scale": st.sampled_from([[0.8, 1.0], [0.5, 1], [1e-05, 0.1]]),
    "seed": st.integers(0, 100),
}
POINT = st.fixed_dictionaries({}, optional=VALUES)


def configured(points: list[dict[str, Any]], **search: Any) -> StudyConfig:
    given = {"space": "given", "budget": {"trials": len(points)}, "points": points}
    return validated({"search": {**given, **search}})


@st.composite
def configurations(draw: st.DrawFn) -> StudyConfig:
    points = draw(st.lists(POINT, min_size=1, max_size=5))
    distinct = []
    for point in points:
        try:
            configured([*distinct, point])
        except ConfigurationError:
            continue
        distinct.append(point)
    return configured(distinct)


def queued(config: StudyConfig) -> optuna.Study:
    optuna_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    fill_queue(
        optuna_study, build_points(config, range(config.search.budget.trials)), first_slot=0
    )
    return optuna_study


@given(config=configurations(), n_asked=st.integers(0, 3))
@settings(max_examples=25)
def test_points_come_back_from_the_queue_as_they_were_given(
    config: StudyConfig, n_asked: int
) -> None:
    optuna_study = queued(config)
    for frozen, point in zip(optuna_study.get_trials(), config.search.points, strict=True):
        first = optuna.Trial(optuna_study, frozen._trial_id)
        for key in given_keys(config)[:n_asked]:  # a life that died between two suggestions
            choices = list(dict.fromkeys(params[key] for params in given_params_of(config)))
            first.suggest_categorical(key, choices)
        trial = optuna.Trial(optuna_study, frozen._trial_id)
        skip_draws(trial)
        found, asked = configured_by(trial, config)
        assert found == at_point(config, settings_of(point))
        assert set(trial.params) == set(asked) == set(given_keys(config))
        again, _ = configured_by(FixedTrial(trial.params), final_config(config))
        final = at_point(final_config(config), settings_of(point))
        assert again == final
        assert validated(found.model_dump(mode="json")) == found


def given_params_of(config: StudyConfig) -> list[dict[str, Any]]:
    return [dict(place.params) for place in build_points(config, range(len(config.search.points)))]


def test_point_of_one_setting_shows_the_configured_value_with_the_others() -> None:
    config = configured([{}, {"network.blocks": [3, 3, 3]}])
    assert given_params_of(config) == [{"network.blocks": "2-2-2"}, {"network.blocks": "3-3-3"}]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([{"data.image_size": 8}], r"points\[0\]: a point sets .* got data\.image_size: see"),
        ([{}, {"network.dropuot": 0}], r"points\[1\]: .*did you mean network\.dropout"),
        ([{}, {"network.dropout": 2}], r"points\[1\]: network\.dropout: .*less than 1, got 2"),
        ([{"network.dropout": True}], r"points\[0\]: network\.dropout: true and false are no"),
        ([{"optimization.warmup_epochs": 50}], r"points\[0\]: .*warmup_epochs must lie below"),
        ([{"network.batch_norm": False, "network.zero_init_last_norm": True}], r"zero_init_last"),
        ([{"seed": -1}], r"points\[0\]: seed: .*greater than or equal"),
        ([{"label": 3}], r"points\[0\]: label must be a text, got 3"),
        ([{}, {"network.dropout": 0.1}], r"points\[1\] must differ from search\.points\[0\]"),
        ([{"label": "a"}, {"label": "a", "network.dropout": 0}], r"differ in their seed only"),
    ],
)
def test_point_that_cannot_be_is_rejected_in_one_line(
    points: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as rejection:
        configured(points)
    assert "\n" not in str(rejection.value)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"space": "given"}, "space given needs points"),
        ({"points": [{"seed": 1}]}, "points need space given, got network.blocks, .*"),
        (
            {"space": "given", "points": [{"seed": 1}]},
            "budget must be in trials, at most .* got 60 trials for 1",
        ),
    ],
)
def test_points_and_space_given_belong_together(search: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        validated({"search": search})


def test_slots_beyond_the_points_are_rejected() -> None:
    config = configured([{"seed": 1}, {"seed": 2}], budget={"trials": 1})
    assert [dict(place.params) for place in build_points(config, range(1, 2))] == [{"seed": 2}]
    with pytest.raises(StudyError, match="within the 2 given points .* got 3 in all"):
        build_points(config, range(1, 3))
