from typing import Any

import pytest

from model.configuration import NetworkConfig
from study.configuration.ablations import FACTORS, one_factor_points
from study.configuration.config import Request, StudyConfig, validated
from study.configuration.grids import grid, lr_wd_axes, mini_grid_axes, parse_axes, replaced
from study.configuration.points import at_point, settings_of
from study.errors import ConfigurationError


def changed(config: StudyConfig, point: dict[str, Any]) -> StudyConfig:
    return at_point(config, settings_of(point))


def test_one_factor_points_vary_one_thing_each_around_the_base() -> None:
    config = Request("tiny-imagenet", assignments=("optimization.label_smoothing=0",)).resolve()
    points = one_factor_points(config, (), n_seeds=1)
    assert [point["label"] for point in points] == [
        "base",
        "learning rate high (0.5)",
        "learning rate low (0.02)",
        "weight decay high (0.005)",
        "weight decay low (5e-05)",
        "blocks high (3-3-3)",
        "blocks low (1-1-1)",
        "dropout high (0.3)",
        "dropout low (0)",
        "augmentation off",
        "label smoothing 0.1",
        "schedule constant",
    ]
    off = changed(config, points[9]).augmentation
    assert (off.flip_probability, off.crop) == (0.0, "none")
    for point in points[1:]:
        other = changed(config, point)
        sections = ("network", "optimization", "augmentation")
        assert sum(getattr(other, name) != getattr(config, name) for name in sections) == 1


def test_one_factor_points_stay_within_bounds_and_leave_the_base_itself_out() -> None:
    config = validated(
        {
            "network": {"blocks": [1, 8, 8], "dropout": 0.9},
            "optimization": {"weight_decay": 0.0, "label_smoothing": 0.1, "schedule": "constant"},
            "augmentation": {"flip_probability": 0.0},
        }
    )
    labels = [point["label"] for point in one_factor_points(config, (), n_seeds=1)]
    assert labels[3:] == [
        "blocks high (2-8-8)",
        "blocks low (1-7-7)",
        "dropout low (0.8)",
        "label smoothing off",
        "schedule cosine",
    ]
    with pytest.raises(ConfigurationError, match="augmentation cannot"):
        one_factor_points(config, ("augmentation",), n_seeds=1)


def test_every_point_is_repeated_with_every_seed_a_round_for_each() -> None:
    config = validated({"seed": 5})
    points = one_factor_points(config, ("schedule",), n_seeds=3)
    assert [(point["seed"], point["label"]) for point in points] == [
        (seed, label) for seed in (5, 6, 7) for label in ("base", "schedule constant")
    ]


def test_unknown_factor_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=f"must be one of {', '.join(FACTORS)}, got x"):
        one_factor_points(StudyConfig(), ("x",), n_seeds=1)


def test_sweep_has_28_points_that_fit_the_optimizer() -> None:
    for optimizer, low, high in (("sgd", 1e-3, 1.0), ("adam", 1e-5, 1e-2)):
        axes = lr_wd_axes(validated({"optimization": {"optimizer": optimizer}}).optimization)
        points = grid(axes)
        rates = [point["optimization.learning_rate"] for point in points]
        assert len(points) == 28 and (min(rates), max(rates)) == (low, high)


@pytest.mark.parametrize("n_stages", [1, 3, 5])
def test_grid_without_axes_varies_every_stage(n_stages: int) -> None:
    network = NetworkConfig(blocks=(1,) * n_stages, widths=(4,) * n_stages)
    points = grid(mini_grid_axes(network))
    assert [point["network.blocks"] for point in points] == [(2,) * n_stages, (3,) * n_stages] * 2


def test_axes_are_read_as_yaml_and_rejected_when_they_are_none() -> None:
    texts = ("network.blocks=[2,2,2],[3,3,3]", "network.batch_norm = true, false")
    axes = parse_axes(texts)
    assert axes == {
        "network.blocks": [[2, 2, 2], [3, 3, 3]],
        "network.batch_norm": [True, False],
    }
    for text in ("network.dropout", "=1", "network.dropout= ", "network.dropout=[1"):
        with pytest.raises(ConfigurationError, match="--axis"):
            parse_axes([text])
    with pytest.raises(ConfigurationError, match="network.dropout twice"):
        parse_axes(["network.dropout=0", "network.dropout=1"])
    with pytest.raises(ConfigurationError, match="sweep other settings with `study grid`"):
        replaced(lr_wd_axes(StudyConfig().optimization), axes)
