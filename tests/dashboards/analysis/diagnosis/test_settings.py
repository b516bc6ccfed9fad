"""Names of hyperparameters as settings, bounds of settings, and wider ranges within them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.analysis.diagnosis.settings import (
    Bounds,
    describe_new_end,
    find_bounds,
    range_setting,
    round_to,
    spoken_name,
    widen,
)
from dashboards.analysis.search_space import Hyperparameter
from model.configuration import NetworkConfig, OptimizationConfig

DROPOUT = Hyperparameter("network.dropout", 0.0, 0.5)


@pytest.mark.parametrize(
    ("name", "setting", "spoken"),
    [
        ("learning_rate", "optimization.learning_rate", "learning rate"),
        ("optimization.learning_rate", "optimization.learning_rate", "learning rate"),
        ("weight_decay", "optimization.weight_decay", "weight decay"),
        ("dropout", "network.dropout", "dropout"),
        ("network.dropout", "network.dropout", "dropout"),
        ("blocks_12", "network.blocks", "blocks of stage 12"),
        ("network.blocks.1", "network.blocks", "blocks of stage 1"),
        ("network.blocks.2:gelu", "network.blocks", "blocks of stage 2 (gelu)"),
        ("optimization.momentum:sgd", "optimization.momentum", "momentum (sgd)"),
        ("augmentation.cutmix_alpha", "augmentation.cutmix_alpha", "cutmix alpha"),
    ],
)
def test_hyperparameter_names_its_setting_in_old_studies_and_new(
    name: str, setting: str, spoken: str
) -> None:
    assert (range_setting(name), spoken_name(name)) == (setting, spoken)


def test_one_of_several_ranges_is_changed_where_it_stands() -> None:
    assert describe_new_end("optimization.momentum:sgd", "high", 0.95) == (
        "`high: 0.95` in the range of `search.space.optimization.momentum` for sgd"
    )
    assert describe_new_end("blocks_1", "high", 5) == (
        "`study fork NEW --set search.space.network.blocks.high=5`"
    )


def test_bounds_are_those_of_the_settings() -> None:
    assert find_bounds("optimization.learning_rate") == Bounds(above=0)
    assert find_bounds("network.dropout") == Bounds(least=0, below=1)
    assert find_bounds("network.blocks") == Bounds(least=1, most=8)
    assert find_bounds("network.stem.stride") == Bounds(least=1, most=2)
    assert find_bounds("optimization.ema_decay") == Bounds(above=0, below=1)
    for unknown in ("optimization.optimizer", "network.shape", "data.image_size", "seed"):
        assert find_bounds(unknown) is None


@pytest.mark.parametrize(
    ("one", "is_high", "end"),
    [
        (Hyperparameter("optimization.learning_rate", 1e-3, 1.0, is_log=True), True, 4.0),
        (Hyperparameter("optimization.learning_rate", 1e-3, 1.0, is_log=True), False, 2e-4),
        (Hyperparameter("optimization.learning_rate", 0.1, 0.2, is_log=True), True, 0.4),
        (Hyperparameter("optimization.learning_rate", 0.05, 0.5), False, 0.025),
        (DROPOUT, True, 0.6),
        (DROPOUT, False, None),
        (Hyperparameter("network.dropout", 0.0, 0.9), True, 0.95),
        (Hyperparameter("network.dropout", 0.0, 0.96), True, None),
        (Hyperparameter("network.blocks.1", 1, 4, is_integer=True), True, 5),
        (Hyperparameter("network.blocks.1", 1, 8, is_integer=True), True, None),
        (Hyperparameter("blocks_1", 2, 4, is_integer=True), False, 1),
        (Hyperparameter("augmentation.hue", 0.0, 0.45), True, 0.5),
        (Hyperparameter("optimization.batch_size", 16, 512, True, True), True, 2000),
        (Hyperparameter("elsewhere", 0.0, 1.0), True, None),
    ],
)
def test_range_is_widened_within_the_bounds(
    one: Hyperparameter, is_high: bool, end: float | None
) -> None:
    assert widen(one, is_high=is_high) == end


@given(
    st.sampled_from(["optimization.weight_decay", "network.dropout", "optimization.momentum"]),
    st.floats(1e-6, 0.99),
    st.floats(1e-6, 0.99),
    st.booleans(),
    st.booleans(),
)
def test_wider_range_holds_the_old_one_and_valid_values(
    name: str, first: float, second: float, is_log: bool, is_high: bool
) -> None:
    one = Hyperparameter(name, min(first, second), max(first, second), is_log=is_log)
    end = widen(one, is_high=is_high)
    if end is None or one.low == one.high:
        return
    assert end > one.high if is_high else end < one.low
    section, _, setting = name.partition(".")
    kind = {"network": NetworkConfig, "optimization": OptimizationConfig}[section]
    assert getattr(kind(**{setting: end}), setting) == end
    assert end > 0 or not is_log


@given(st.floats(1e-9, 1e9), st.integers(1, 4))
def test_rounding_goes_to_the_next_number_of_so_few_digits(value: float, digits: int) -> None:
    low, high = round_to(value, digits, up=False), round_to(value, digits, up=True)
    assert low <= value * (1 + 1e-6) and high >= value * (1 - 1e-6)
    assert high - low <= 1.0000001 * 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    assert float(f"{high:.{digits}g}") == high
