from dataclasses import replace
from typing import Any

from study.configuration.points import ask_settings, at_point
from study.configuration.search_space import Hyperparameters
from study.trial.hparams import build_hparams, row_name
from tests.study.searches import configured

Settings = dict[str, Any]
DRAWN = Hyperparameters(learning_rate=0.1, weight_decay=1e-4, blocks=(1, 2, 2), dropout=0.1)


def test_row_of_a_search_names_what_is_drawn_and_all_blocks_that_may_be(
    tiny_settings: Settings,
) -> None:
    config = configured(tiny_settings, {"search.space": "blocks-dropout"})
    shown = build_hparams(config, DRAWN, {}, None)
    assert {key: (one.value, one.differs) for key, one in shown.items()} == {
        "learning_rate": (0.1, False),
        "weight_decay": (1e-4, False),
        "blocks": ("1-2-2", True),
        "dropout": (0.1, True),
    }
    assert len(shown["blocks"].choices) == 2**3 and "2-2-1" in shown["blocks"].choices


def test_row_of_a_search_names_a_range_of_one_value_as_fixed(tiny_settings: Settings) -> None:
    fixed = {"low": 0.1, "high": 0.1, "log": False}
    blocks = {"low": 2, "high": 2}
    config = configured(
        tiny_settings, {"search.ranges.dropout": fixed, "search.ranges.blocks": blocks}
    )
    shown = build_hparams(config, replace(DRAWN, blocks=(2, 2, 2)), {}, None)
    assert [key for key, one in shown.items() if one.differs] == ["learning_rate", "weight_decay"]


def test_row_of_a_search_of_many_stages_shows_each_as_a_number(tiny_settings: Settings) -> None:
    stages = {"network.widths": [4] * 10, "network.blocks": [1] * 10}
    config = configured(tiny_settings, stages)
    drawn = replace(DRAWN, blocks=(1, 2) * 5)
    shown = build_hparams(config, drawn, {}, None)
    assert "blocks" not in shown
    row = {key: one for key, one in shown.items() if key.startswith("blocks_")}
    assert [one.value for one in row.values()] == [1, 2] * 5 and row["blocks_10"].differs
    assert {one.choices for one in row.values()} == {(1, 2)}


class Point:
    """Answers as Optuna's trial of a point does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self._settings[name]


def test_row_of_a_given_point_shows_its_label_and_what_others_have_instead(
    tiny_settings: Settings,
) -> None:
    points = [
        {"label": "plain", "seed": 1},
        {
            "label": "modern",
            "seed": 1,
            "optimization.ema_decay": 0.9,
            "network.batch_norm": False,
            "optimization.learning_rate": 0.3,
        },
    ]
    search = {"search.space": "given", "search.points": points, "search.budget.trials": 2}
    config = configured(tiny_settings, search)
    whole = {
        "seed": 1,
        "optimization.ema_decay": None,
        "network.batch_norm": True,
        "optimization.learning_rate": 0.1,
    }
    settings = ask_settings(Point(whole), config)  # type: ignore[arg-type]
    assert at_point(config, settings).network.batch_norm
    shown = build_hparams(config, DRAWN, settings, "plain")
    assert list(shown) == [
        "learning_rate",
        "weight_decay",
        "blocks",
        "dropout",
        "seed",
        "optimization.ema_decay",
        "network.batch_norm",
        "label",
    ]
    assert {key: one.choices for key, one in shown.items() if one.differs} == {
        "learning_rate": (0.1, 0.3),
        "optimization.ema_decay": ("none", 0.9),
        "network.batch_norm": (True, False),
        "label": ("plain", "modern"),
    }
    assert shown["optimization.ema_decay"].value == "none"


def test_rows_of_all_studies_below_a_folder_have_names_of_their_own() -> None:
    assert row_name("pets", 7, None, is_final=False) == "007 (pets)"
    assert row_name("pets", 7, "modern", is_final=False) == "007 modern (pets)"
    assert row_name("pets", 0, "modern", is_final=True) == "final 000 (pets)"
