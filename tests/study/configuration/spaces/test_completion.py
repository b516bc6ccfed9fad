from pathlib import Path
from typing import Any

import pytest

from study.configuration.config import Request, as_yaml, validated
from study.configuration.spaces.completion import NAMED_SPACES
from study.configuration.spaces.ranges import DEFAULT_RANGES
from study.configuration.spaces.settings import SEARCHABLE, number_type
from study.errors import ConfigurationError

SGD = {"low": 1e-3, "high": 1.0, "log": True}
ADAM = {"low": 1e-5, "high": 1e-2, "log": True}
RATE = "optimization.learning_rate"
SMOOTHING = "optimization.label_smoothing"


def space_of(*assignments: str, **given: Any) -> Any:
    return Request(assignments=assignments, **given).resolve().search.space


@pytest.mark.parametrize("name", NAMED_SPACES)
def test_name_stands_for_a_mapping_of_default_ranges(name: str) -> None:
    found = space_of(f"search.space={name.upper()}", "search.budget={trials: 1}")
    assert list(found) == sorted(NAMED_SPACES[name], key=list(SEARCHABLE).index)
    for key, within in found.items():
        assert within == (SGD if key == RATE else DEFAULT_RANGES[key])


@pytest.mark.parametrize(("optimizer", "within"), [("sgd", SGD), ("adam", ADAM), ("adamw", ADAM)])
def test_default_learning_rates_follow_the_optimizer(optimizer: str, within: Any) -> None:
    assert space_of(f"optimization.optimizer={optimizer}")[RATE] == within
    stored = Request().resolve().model_dump(mode="json")
    forked = Request(assignments=(f"optimization.optimizer={optimizer}",)).resolve(stored)
    assert forked.search.searched[RATE] == within


def test_default_learning_rates_of_a_searched_optimizer_have_conditions() -> None:
    found = space_of(
        "search.space.optimization.optimizer={choices: [sgd, adam, adamw]}",
        f"search.space.{RATE}=default",
    )
    assert found[RATE] == [
        SGD | {"when": {"optimization.optimizer": "sgd"}},
        ADAM | {"when": {"optimization.optimizer": ["adam", "adamw"]}},
    ]


def test_part_of_a_range_is_completed_from_the_range_there_else_from_the_default() -> None:
    assert space_of(f"search.space.{RATE}.high=0.3")[RATE] == SGD | {"high": 0.3}
    narrowed = ("search.space={network.dropout: {low: 0.1, high: 0.2}}",)
    found = space_of(*narrowed, "search.space.network.dropout.high=0.3")
    assert found == {"network.dropout": {"low": 0.1, "high": 0.3, "log": False}}
    found = space_of(*narrowed, "search.space.network.dropout={low: 0.0}")
    assert found == {"network.dropout": {"low": 0.0, "high": 0.2, "log": False}}
    found = space_of(*narrowed, f"search.space.{SMOOTHING}.high=0.1")
    assert found[SMOOTHING] == {"low": 0.0, "high": 0.1, "log": False}


def test_set_adds_changes_and_takes_out_one_setting() -> None:
    assert set(space_of(f"search.space.{SMOOTHING}={{low: 0, high: 0.2}}")) == {
        *NAMED_SPACES["joint"],
        SMOOTHING,
    }
    assert "network.dropout" not in space_of("search.space.network.dropout=none")
    found = space_of("search.space.network.blocks={choices: [[2, 2, 2], [3, 3, 3]]}")
    assert found["network.blocks"] == {"choices": [[2, 2, 2], [3, 3, 3]]}
    condition = "search.space.optimization.momentum.when.optimization.optimizer"
    found = space_of(
        "search.space.optimization.optimizer={choices: [SGD, adamw]}",
        "search.space.optimization.momentum={low: 0.5, high: 0.9}",
        f"{condition}=SGD",
    )
    assert found["optimization.momentum"]["when"] == {"optimization.optimizer": "sgd"}


def test_mapping_of_a_file_is_the_whole_space(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("search:\n  space:\n    network.dropout: {low: 0.1, high: 0.2}\n")
    assert list(space_of(preset="tiny-imagenet-10", file=file)) == ["network.dropout"]
    file.write_text("search: {space: {}, budget: {trials: 1}}\n")
    assert space_of(file=file) == {}


def test_whole_space_comes_back_from_yaml_as_it_was(tmp_path: Path) -> None:
    conditional = (
        "search.space.optimization.optimizer={choices: [sgd, adamw]}",
        f"search.space.{RATE}=default",
        "search.space.network.batch_norm={choices: [true, false]}",
    )
    config = Request(assignments=conditional).resolve()
    file = tmp_path / "printed.yaml"
    file.write_text(as_yaml(config))
    assert Request(file=file).resolve() == config
    assert validated(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("given", ["[1, 3]", "[3, 1]", "2"])
@pytest.mark.parametrize("key", [*DEFAULT_RANGES, RATE])
def test_range_in_another_form_is_answered_with_one_in_the_right_form(
    key: str, given: str
) -> None:
    with pytest.raises(ConfigurationError, match="must be a range or choices, got") as caught:
        space_of(f"search.space.{key}={given}")
    ends = "{low: 1, high: 3}" if "[" in given else "{low: 2, high: 2}"
    assert str(caught.value).endswith(f"give --set 'search.space.{key}={ends}'")


@pytest.mark.parametrize("key", ["network.dropout", "network.blocks", RATE])
def test_range_of_one_value_is_a_range(key: str) -> None:
    value = 1 if key == "network.blocks" else 0.25
    found = space_of(f"search.space.{key}={{low: {value}, high: {value}}}")
    assert found[key]["low"] == found[key]["high"] == value


def test_every_searchable_setting_has_a_name_of_its_own_for_pages() -> None:
    last = [key.rpartition(".")[2] for key in SEARCHABLE]
    assert len(set(last)) == len(last)


@pytest.mark.parametrize("key", SEARCHABLE)
def test_every_setting_can_be_searched(key: str) -> None:
    configured = Request().resolve()
    value: Any = configured
    for part in key.split("."):
        value = getattr(value, part)
    if number_type(key) is not None and value is not None and key != "network.blocks":
        within = f"{{low: {value}, high: {value}}}"
    else:
        shown = list(value) if isinstance(value, tuple) else value
        within = f"{{choices: [{str(shown).lower()}]}}"
    assert list(space_of(f"search.space={{{key}: {within}}}")) == [key]
