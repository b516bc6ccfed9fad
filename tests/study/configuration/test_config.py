import itertools
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.configuration.config import (
    Request,
    all_keys,
    as_yaml,
    describe_keys,
    preset_names,
    validated,
)
from study.configuration.yaml_values import parse_yaml
from study.errors import ConfigurationError


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("search.n_epoch=3", r"search\.n_epoch is no setting: did you mean search\.n_epochs\?"),
        ("serch.n_epochs=3", r"serch is no setting: did you mean"),
        ("search.n_epochs=many", r"search\.n_epochs: .*valid integer.*got 'many'"),
        ("search.n_epochs=0", r"search\.n_epochs: .*greater than or equal to 1, got 0"),
        ("network.dropout=1.5", r"network\.dropout: .*less than 1, got 1\.5"),
        (
            "network.blocks=[1,2]",
            r"^network: blocks must have one number for each of 3 widths, received \[1, 2\]: "
            r"set network\.blocks=\[1,2,2\], or other network\.widths$",
        ),
        ("network.widths=[8, 16, 32, 64]", r"each of 4 widths.* set network\.blocks=\[2,2,2,2\]"),
        ("network.stem.stride=3", r"network\.stem\.stride: .*less than or equal to 2, got 3"),
        ("network.stem.stride=true", r"network\.stem\.stride: true and false are no numbers"),
        ("network.stem.stripe=2", r"stem\.stripe is no setting: did you mean network\.stem\.stri"),
        ("optimization.optimizer=lion", r"optimization\.optimizer: .*'sgd', 'adam' or 'adamw'"),
        ("search.sampler=gp", r"search: sampler gp ignores pruned trials.*pruner=none"),
        ("search.ranges.dropout.high=1", r"search\.ranges: dropout must lie within"),
        ("search.ranges.weight_decay={low: -1, log: false}", r"weight_decay\.low must not be neg"),
        ("optimization.learning_rate=.inf", r"optimization\.learning_rate: .*finite"),
        ("search.space=fixed", r"search: space fixed has nothing to vary"),
        ("search.ranges.dropout.low=0.9", r"search\.ranges\.dropout: low must lie below high"),
        ("storage.grace_seconds=5", r"storage: grace_seconds must exceed"),
        ("optimization.warmup_epochs=99", r"warmup_epochs must lie below"),
        ("name=a/b", r"name: .*pattern"),
        ("name=x-final", r"name must not end in -final"),
        ("search.n_epochs", r"--set must have the form section\.key=value"),
        ("search.n_epochs=[1", r"--set search\.n_epochs must be YAML"),
        ("search=3", r"search: .*got 3"),
        ("search.n_epochs=true", r"search\.n_epochs: true and false are no numbers, got True"),
        ("optimization.learning_rate=yes", r"learning_rate: .*valid number.* got 'yes'"),
        ("optimization.learning_rate=True", r"learning_rate: true and false are no numbers"),
        ("network.blocks=[1, true, 2]", r"blocks: true and false.* got \[1, True, 2\]"),
        ("search.ranges.dropout.low=false", r"dropout\.low: true and false .* got False"),
        ("search.ranges.learning_rate={low: true, high: 1}", r"learning_rate\.low: true and"),
        ("search.ranges.weight_decay.log=3", r"weight_decay\.log: .*boolean"),
        ("storage.grace_seconds=true", r"storage\.grace_seconds: true and false"),
    ],
)
def test_setting_that_cannot_be_is_rejected_with_key_rule_and_value(
    assignment: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as rejection:
        Request(assignments=(assignment,)).resolve()
    assert "\n" not in str(rejection.value)


def test_unknown_preset_is_rejected_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean quickstart"):
        Request(preset="quickstrat").resolve()


def test_file_that_cannot_be_read_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Request(file=tmp_path / "none.yaml").resolve()
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigurationError, match="must hold sections"):
        Request(file=tmp_path / "list.yaml").resolve()


def test_later_sources_override_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("search: {n_trials: 7, n_epochs: 9}\nseed: 1\n")
    request = Request("quickstart", file, ("search.n_epochs=11",), {"seed": 5, "name": None})
    resolved = request.resolve()
    assert (resolved.search.n_trials, resolved.search.n_epochs, resolved.seed) == (7, 11, 5)
    assert resolved.network.widths == Request("quickstart").resolve().network.widths
    assert resolved.name == "quickstart"


def test_base_is_changed_only_where_no_preset_is_named() -> None:
    base = {"name": "mine", "seed": 3}
    assert Request(assignments=("seed=4",)).resolve(base).model_dump()["seed"] == 4
    assert Request(assignments=("seed=4",)).resolve(base).name == "mine"
    assert Request("quickstart").resolve(base).name == "quickstart"
    assert base == {"name": "mine", "seed": 3}


@pytest.mark.parametrize("name", preset_names())
def test_preset_is_valid_says_what_it_is_for_and_survives_yaml(name: str) -> None:
    resolved = Request(name).resolve()
    assert len(resolved.description) > 40
    assert validated(parse_yaml(as_yaml(resolved), name)) == resolved
    assert validated(resolved.model_dump(mode="json")) == resolved


@pytest.mark.parametrize("name", preset_names())
def test_preset_begins_with_what_it_is_for_what_it_takes_and_what_to_expect(name: str) -> None:
    lines = resources.files("study.presets").joinpath(f"{name}.yaml").read_text().splitlines()
    header = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
    heads = [line.split(":")[0] for line in header if not line.startswith("#   ")]
    assert heads[:3] == ["# For", "# Takes", "# Expect"]


REFERENCE = {
    "reference-a": ((3, 3, 3), 0.1, (0.8, 1.0), 0.4, 100, 20),
    "reference-b": ((2, 2, 2), 0.1, (0.8, 1.0), 0.4, 100, 20),
    "reference-special": ((3, 3, 3), 0.3, (0.6, 1.0), 0.8, 200, 30),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_preset_of_the_reference_has_its_recipe(name: str) -> None:
    config = Request(name).resolve()
    network, optimization, search = config.network, config.optimization, config.search
    augmentation = config.augmentation
    jitter = {augmentation.brightness, augmentation.contrast, augmentation.saturation}
    (strength,) = jitter
    assert REFERENCE[name] == (
        network.blocks,
        network.dropout,
        augmentation.scale,
        strength,
        search.n_epochs,
        optimization.restart_epochs,
    )
    assert (augmentation.crop, augmentation.ratio) == ("resized", (0.9, 1.1))
    assert (augmentation.hue, augmentation.flip_probability) == (0.1, 0.5)
    assert not augmentation.after_normalisation and not network.zero_init_last_norm
    assert (optimization.optimizer, optimization.schedule) == ("adam", "restarts")
    assert optimization.learning_rate == optimization.weight_decay == 1e-4
    assert optimization.decay_norm_and_bias and optimization.gradient_clip_norm is None
    assert (optimization.batch_size, optimization.warmup_epochs) == (32, 5)
    # A run whose best epoch is the end of a cosine must live to see the next end, or its own.
    assert search.patience_epochs is not None
    length, end = optimization.restart_epochs, int(optimization.warmup_epochs)
    while end + length < search.n_epochs:
        end, length = end + length, length * optimization.restart_factor
        assert search.patience_epochs >= min(length, search.n_epochs - end)


@pytest.mark.parametrize("name", [*REFERENCE, "modern"])
def test_preset_that_searches_nothing_tests_what_it_trains(name: str) -> None:
    config = Request(name).resolve()
    assert (config.search.space, config.search.n_trials) == ("fixed", 1)
    assert config.search.n_epochs == config.final.n_epochs
    assert config.data.image_size == config.final.image_size == 64
    assert config.network.widths == (64, 128, 256)


@pytest.mark.parametrize("text", ["none", "null", "~", ""])
def test_none_means_no_value_where_there_may_be_none(text: str) -> None:
    asked = Request(preset="tiny-imagenet-10", assignments=(f"data.n_classes={text}",))
    assert asked.resolve().data.n_classes is None


def test_none_is_a_value_of_its_own_where_there_must_be_one(tmp_path: Path) -> None:
    file = tmp_path / "given.yaml"
    file.write_text("search: {pruner: none}\ndata: {image_column: none}\n")
    config = Request(file=file, assignments=("search.ranges.learning_rate=none",)).resolve()
    assert (config.search.pruner, config.data.image_column) == ("none", None)
    assert config.search.ranges.learning_rate is None


def test_every_setting_has_a_description() -> None:
    assert all(len(description) > 10 for _, _, description in describe_keys())
    assert len(set(all_keys())) == len(all_keys())


@given(st.sampled_from(all_keys()), st.booleans())
def test_truth_values_are_taken_only_where_they_belong(key: str, value: bool) -> None:
    default = next(default for name, default, _ in describe_keys() if name == key)
    if isinstance(default, bool):
        Request(options={key: value}).resolve()
    else:
        with pytest.raises(ConfigurationError):
            Request(options={key: value}).resolve()


def test_location_rejects_a_truth_value_too() -> None:
    with pytest.raises(ConfigurationError, match="storage.outage_seconds: true and false"):
        Request(assignments=("storage.outage_seconds=true",)).location()


@given(st.sampled_from(all_keys()), st.sampled_from([[], {}, "?", -1, True]))
def test_any_value_is_taken_or_rejected_in_one_line(key: str, value: object) -> None:
    try:
        Request(options={key: value}).resolve()
    except ConfigurationError as error:
        assert "\n" not in str(error)
