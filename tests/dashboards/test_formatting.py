"""How settings are called in every view."""

from datetime import datetime

import pytest

from dashboards.formatting import (
    setting_name,
    shown_p_value,
    shown_params,
    shown_range,
    shown_time,
)
from tests.dashboards.statuses import build_row


@pytest.mark.parametrize(
    ("key", "called"),
    [
        ("optimization.learning_rate", "learning rate"),
        ("learning_rate", "learning rate"),
        ("network.stem.stride", "stride"),
        ("network.blocks.2", "blocks 2"),
        ("blocks_2", "blocks 2"),
        ("optimization.learning_rate:adam-adamw", "learning rate (adam-adamw)"),
    ],
)
def test_setting_is_called_what_people_say(key: str, called: str) -> None:
    assert setting_name(key) == called


def test_hyperparameters_show_blocks_as_one_and_no_condition_of_a_range() -> None:
    params = {
        "network.blocks.1": 2,
        "network.blocks.2": 3,
        "optimization.learning_rate:adamw": 0.001,
        "optimization.gradient_clip_norm": None,
    }
    assert shown_params(build_row(3, params=params)) == {
        "blocks": "2-3",
        "learning rate": "0.001",
        "gradient clip norm": "none",
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"low": 1, "high": 4, "log": False}, "1 to 4"),
        ({"low": 0.001, "high": 1.0, "log": True}, "0.001 to 1 (logarithmic)"),
        ({"choices": [[8, 16], [8, 16, 32]]}, "8-16, 8-16-32"),
        (
            [
                {"low": 0.1, "high": 1.0, "log": False, "when": {"optimization.optimizer": "sgd"}},
                {"choices": [None], "when": {"optimization.optimizer": ["adam", "adamw"]}},
            ],
            "0.1 to 1 where optimizer sgd; none where optimizer adam or adamw",
        ),
    ],
)
def test_range_of_a_stored_space_is_told_in_words(given: object, said: str) -> None:
    assert shown_range(given) == said


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 3, 4, 12, 0, 30), "12:00:30"),
        (datetime(2026, 3, 4, 22, 56), "22:56"),
        (datetime(2026, 3, 5, 3, 10), "Thu 03:10"),
        (datetime(2026, 12, 1, 3, 10), "2026-12-01 03:10"),
    ],
)
def test_shown_time_says_as_much_as_is_needed(moment: datetime, text: str) -> None:
    assert shown_time(moment, datetime(2026, 3, 4, 12, 0)) == text


@pytest.mark.parametrize(
    ("p_value", "text"), [(0.0, "< 0.001"), (0.0004, "< 0.001"), (0.0496, "0.050"), (1.0, "1.000")]
)
def test_shown_p_value_has_three_decimals(p_value: float, text: str) -> None:
    assert shown_p_value(p_value) == text
