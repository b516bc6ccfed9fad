from typing import Any

from study.configuration.config import StudyConfig
from study.configuration.points import at_point
from study.trial.hparams import build_hparams, row_name
from tests.study.searches import CONDITIONAL, configured

Settings = dict[str, Any]
RATE, DECAY = "optimization.learning_rate", "optimization.weight_decay"
BLOCKS, DROPOUT = "network.blocks", "network.dropout"
DRAWN = {RATE: 0.1, DECAY: 1e-4, BLOCKS: (1, 2, 2), DROPOUT: 0.1}


def drawn(config: StudyConfig, **others: Any) -> StudyConfig:
    """Return the configuration of a trial."""
    return at_point(config, DRAWN | others)


def test_row_of_a_search_names_what_is_drawn_and_all_blocks_that_may_be(
    tiny_settings: Settings,
) -> None:
    space = {BLOCKS: {"low": 1, "high": 2}, DROPOUT: "default"}
    config = configured(tiny_settings, {"search.space": space})
    shown = build_hparams(config, drawn(config), None)
    assert {key: (one.value, one.differs) for key, one in shown.items()} == {
        RATE: (0.1, False),
        DECAY: (1e-4, False),
        BLOCKS: ("1-2-2", True),
        DROPOUT: (0.1, True),
    }
    assert len(shown[BLOCKS].choices) == 2**3 and "2-2-1" in shown[BLOCKS].choices


def test_row_of_a_search_names_a_range_of_one_value_as_fixed(tiny_settings: Settings) -> None:
    space = {
        DROPOUT: {"low": 0.1, "high": 0.1},
        BLOCKS: {"low": 2, "high": 2},
        RATE: "default",
        DECAY: "default",
    }
    config = configured(tiny_settings, {"search.space": space})
    shown = build_hparams(config, drawn(config), None)
    assert {key for key, one in shown.items() if one.differs} == {RATE, DECAY}


def test_row_of_a_search_of_many_stages_shows_each_as_a_number(tiny_settings: Settings) -> None:
    stages = {"network.widths": [4] * 10, BLOCKS: [1] * 10}
    config = configured(tiny_settings, stages)
    shown = build_hparams(config, drawn(config, **{BLOCKS: (1, 2) * 5}), None)
    assert BLOCKS not in shown
    row = {key: one for key, one in shown.items() if key.startswith(BLOCKS)}
    assert [one.value for one in row.values()] == [1, 2] * 5 and row[f"{BLOCKS}.10"].differs
    assert {one.choices for one in row.values()} == {(1, 2)}


def test_row_of_a_conditional_search_has_every_setting_drawn_or_configured(
    tiny_settings: Settings,
) -> None:
    config = configured(tiny_settings, {"search.space": CONDITIONAL})
    chosen = {"optimization.optimizer": "adamw", "augmentation.crop": "padded"}
    shown = build_hparams(config, drawn(config, **chosen), None)
    assert set(CONDITIONAL) < set(shown)
    assert (shown["optimization.optimizer"].value, shown["optimization.momentum"].value) == (
        "adamw",
        0.9,
    )
    assert shown["optimization.optimizer"].choices == ("sgd", "adamw")
    assert shown["optimization.momentum"].differs and not shown[DECAY].differs


def test_row_of_a_study_of_an_earlier_version_keeps_its_names(tiny_settings: Settings) -> None:
    config = configured(tiny_settings, {"search.param_names": "short"})
    shown = build_hparams(config, drawn(config), None)
    assert {"learning_rate", "weight_decay", "dropout", "blocks"} == set(shown)


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
    shown = build_hparams(config, at_point(config, whole), "plain")
    assert list(shown) == [
        BLOCKS,
        DROPOUT,
        RATE,
        DECAY,
        "seed",
        "optimization.ema_decay",
        "network.batch_norm",
        "label",
    ]
    assert {key: one.choices for key, one in shown.items() if one.differs} == {
        RATE: (0.1, 0.3),
        "optimization.ema_decay": ("none", 0.9),
        "network.batch_norm": (True, False),
        "label": ("plain", "modern"),
    }
    assert shown["optimization.ema_decay"].value == "none"


def test_rows_of_all_studies_below_a_folder_have_names_of_their_own() -> None:
    assert row_name("pets", 7, None) == "007 (pets)"
    assert row_name("pets", 7, "modern") == "007 modern (pets)"
    assert row_name("pets", 0, "modern", kind="final") == "final 000 (pets)"
