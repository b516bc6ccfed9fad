import functools
import itertools
import shlex
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.image_sizes import ImageSizes
from study.configuration.config import (
    FITTED_PRESET,
    Request,
    StudyConfig,
    all_keys,
    as_yaml,
    describe_keys,
    validated,
)
from study.configuration.dotted_keys import leaves, value_at
from study.configuration.given_values import find_choices
from study.configuration.presets import preset_names
from study.configuration.yaml_values import parse_yaml
from study.creation.fitted_preset import choose_settings
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
        (
            "optimization.optimizer=lion",
            r"optimizer must be one of sgd, adam, adamw, got 'lion': choose one of them$",
        ),
        ("optimization.optimizer=adm", r"got 'adm': did you mean adam\?$"),
        ("nonsense=1", r"nonsense is no setting: see `study config`$"),
        ("seed=none", r"^seed must have a value, got none: leave it out$"),
        ("seed=", r"^seed must have a value, got none"),
        ("network.blocks=Null", r"^network\.blocks must have a value, got none"),
        ("search=", r"^search must hold settings, got none: leave it out$"),
        (
            "data.label_column=3",
            r"must be text, got 3: quote it, --set 'data\.label_column=\"3\"'$",
        ),
        ("data.splits={learn: a}", r"data\.splits\.learn must be one of train, validation, test"),
        (
            "search={sampler: gp, pruner: median}",
            r"search: sampler gp ignores pruned trials.*none",
        ),
        ("optimization.learning_rate=.inf", r"optimization\.learning_rate: .*finite"),
        ("search.space=fixed", r"search: space fixed has nothing to vary"),
        ("storage.grace_seconds=5", r"storage: grace_seconds must exceed"),
        ("optimization.warmup_epochs=99", r"warmup_epochs must lie below"),
        ("name=a/b", r"^name must be letters, digits, .*, at most 100, got 'a/b': correct it$"),
        ("execution.device=gpu", r"^execution\.device must be auto .*cuda:N, got 'gpu': correct"),
        ("name=x-final", r"name must not end in -confirm or -final"),
        ("search.n_epochs", r"--set must have the form section\.key=value"),
        ("search.n_epochs=[1", r"--set search\.n_epochs must be YAML"),
        ("search=3", r"^search must hold settings, got 3: give one of them, as search\.NAME$"),
        ("search.n_epochs=true", r"search\.n_epochs: true and false are no numbers, got True"),
        ("optimization.learning_rate=yes", r"learning_rate: .*valid number.* got 'yes'"),
        ("optimization.learning_rate=True", r"learning_rate: true and false are no numbers"),
        ("network.blocks=[1, true, 2]", r"blocks: true and false.* got \[1, True, 2\]"),
        ("storage.grace_seconds=true", r"storage\.grace_seconds: true and false"),
    ],
)
def test_setting_that_cannot_be_is_rejected_with_key_rule_and_value(
    assignment: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as rejection:
        Request(assignments=(assignment,)).resolve()
    assert "\n" not in str(rejection.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("network.blocks=3-2-1", "network.blocks=[3, 2, 1]"),
        ("network.widths=64, 128, 256", "network.widths=[64, 128, 256]"),
        ("search.rungs=0.5", "search.rungs=[0.5]"),
    ],
)
def test_list_in_another_form_is_answered_with_one_that_works(given: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match="must be a list, got") as caught:
        Request(assignments=(given,)).resolve()
    assert shlex.split(str(caught.value).partition(" --set ")[2]) == [meant]
    Request(assignments=(meant,)).resolve()


def test_dotted_key_of_a_file_is_answered_with_the_section(tmp_path: Path) -> None:
    file = tmp_path / "dotted.yaml"
    file.write_text("data.image_size: 32\n")
    with pytest.raises(
        ConfigurationError, match=r"write data: and, indented below it, image_size:"
    ):
        Request(file=file).resolve()


def test_unknown_preset_is_rejected_with_what_is_near_else_with_all() -> None:
    with pytest.raises(ConfigurationError, match=r"got 'Quickstrat': did you mean quickstart\?$"):
        Request(preset="Quickstrat").resolve()
    with pytest.raises(ConfigurationError, match=f"choose one of {', '.join(preset_names())}$"):
        Request(preset="nope").resolve()


@pytest.mark.parametrize("key", [key for key, default, _ in describe_keys() if default is None])
@pytest.mark.parametrize("word", ["none", "None", "null", "~"])
def test_none_means_no_value_wherever_that_is_the_default(key: str, word: str) -> None:
    assert value_at(Request(assignments=(f"{key}={word}",)).resolve(), key) is None


CHOICES = [
    (key, choice)
    for key, setting in leaves(StudyConfig)
    for choice in find_choices(setting.annotation)
    if key != "data.splits"
]


@pytest.mark.parametrize("spell", [str.upper, str.title])
@pytest.mark.parametrize("preset", [False, True])
def test_choices_and_presets_are_understood_in_any_case(
    spell: Callable[[str], str], preset: bool
) -> None:
    if preset:
        for name in preset_names():
            assert Request(spell(name))._values(None) == Request(name)._values(None)
        return
    for key, choice in CHOICES:
        asked = Request(assignments=(f"{key}={spell(choice)}",))
        assert value_of(asked._values({}), key) == choice
    assert Request(options={"execution.device": "CUDA:1"}).resolve().execution.device == "cuda:1"


def value_of(values: dict[str, Any], key: str) -> object:
    return functools.reduce(lambda inner, part: inner[part], key.split("."), values)


NOTHING = ("none", "None", "NONE", "null", "Null", "nULL", "~", "", "'none'")


@pytest.mark.parametrize("text", NOTHING)
def test_none_means_no_value_wherever_a_setting_may_have_none(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    for key, setting in leaves(StudyConfig):
        if NoneType in get_args(setting.annotation):
            *sections, last = key.split(".")
            indented = [f"{' ' * n}{part}:" for n, part in enumerate(sections)]
            file.write_text("\n".join([*indented, f"{' ' * len(sections)}{last}: {text}"]))
            by_set = Request(assignments=(f"{key}={text}",))._values({})
            assert value_of(by_set, key) is value_of(Request(file=file)._values({}), key) is None


@pytest.mark.parametrize("text", NOTHING)
def test_none_in_a_point_means_no_value(text: str) -> None:
    point = f"{{optimization.ema_decay: {text}, optimization.optimizer: Adam}}"
    asked = Request(
        assignments=("search.space=given", "search.budget.trials=1", f"search.points=[{point}]")
    )
    (found,) = asked.resolve().search.points
    assert found == {"optimization.ema_decay": None, "optimization.optimizer": "adam"}


def test_study_may_be_called_none() -> None:
    request = Request(options={"name": "none"})
    assert request.location().name == request.resolve().name == "none"


def test_file_that_cannot_be_read_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Request(file=tmp_path / "none.yaml").resolve()
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigurationError, match="must hold sections"):
        Request(file=tmp_path / "list.yaml").resolve()


def test_later_sources_override_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("search: {budget: {trials: 7}, n_epochs: 9}\nseed: 1\n")
    request = Request("quickstart", file, ("search.n_epochs=11",), {"seed": 5, "name": None})
    resolved = request.resolve()
    assert (resolved.search.budget.trials, resolved.search.n_epochs, resolved.seed) == (7, 11, 5)
    assert resolved.network.widths == Request("quickstart").resolve().network.widths
    assert resolved.name == "quickstart"


def test_base_is_changed_only_where_no_preset_is_named() -> None:
    base = {"name": "mine", "seed": 3}
    assert Request(assignments=("seed=4",)).resolve(base).model_dump()["seed"] == 4
    assert Request(assignments=("seed=4",)).resolve(base).name == "mine"
    assert Request("quickstart").resolve(base).name == "quickstart"
    assert base == {"name": "mine", "seed": 3}


def preset_request(name: str) -> Request:
    if name != FITTED_PRESET:
        return Request(name)
    fitted = choose_settings(ImageSizes(5000, 12, 240), has_gpu=False)
    return Request(name, options={"data.source": "photos"}, fitted=fitted)


@pytest.mark.parametrize("name", preset_names())
def test_description_of_a_preset_is_not_carried_to_other_images(name: str) -> None:
    request = preset_request(name)
    config = replace(request, options={"data.source": "my-pictures"}).resolve()
    text = resources.files("study.presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    said = parse_yaml(text, name)["description"]
    if name == FITTED_PRESET:
        assert config.description == said
    else:
        assert config.description == f"The settings of preset {name}, for other images."
        assert request.resolve().description == said
    own = replace(request, options={"data.source": "my-pictures", "description": "Mine."})
    assert own.resolve().description == "Mine."


def test_description_of_the_default_preset_is_not_carried_to_other_images() -> None:
    config = Request(options={"data.source": "my-pictures"}).resolve()
    assert config.description == "The settings of preset quickstart, for other images."
    stored = {"description": "Kept.", "data": {"source": "there"}}
    assert Request(options={"data.source": "here"}).resolve(stored).description == "Kept."


def test_fitted_preset_needs_images() -> None:
    with pytest.raises(ConfigurationError, match="my-images must have images: add --data FOLDER"):
        Request("My-Images").resolve()
    assert Request("My-Images").location().name == FITTED_PRESET


@pytest.mark.parametrize("name", preset_names())
def test_preset_is_valid_says_what_it_is_for_and_survives_yaml(name: str) -> None:
    resolved = preset_request(name).resolve()
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
    assert (config.search.space, config.search.budget.trials) == ({}, 1)
    assert config.search.n_epochs == config.final.n_epochs
    assert config.data.image_size == config.final.image_size == 64
    assert config.network.widths == (64, 128, 256)


def test_none_is_a_value_of_its_own_where_there_must_be_one(tmp_path: Path) -> None:
    file = tmp_path / "given.yaml"
    file.write_text("search: {pruner: none}\ndata: {image_column: none}\n")
    config = Request(file=file).resolve()
    assert (config.search.pruner, config.data.image_column) == ("none", None)


def test_every_setting_has_a_description() -> None:
    assert all(len(description) > 10 for _, _, description in describe_keys())
    assert len(set(all_keys())) == len(all_keys())


@given(st.sampled_from(all_keys()), st.booleans())
def test_truth_values_are_taken_only_where_they_belong(key: str, value: bool) -> None:
    default = next(default for name, default, _ in describe_keys() if name == key)
    if isinstance(default, bool) or key == "storage.group_writable":
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
