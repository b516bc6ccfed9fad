from copy import deepcopy
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from storage.trial_rows import read_trials
from study.configuration.config import validated
from study.configuration.spaces.nearest import nearest_params
from study.confirmation.candidates import NEAR, distance, distinct, find_candidates, find_control
from study.creation.create import initialise
from tests.study.confirmation.rows import search_row
from tests.study.searches import CONDITIONAL, configured, pretend_to_search

JOINT = validated({})
RATE, DECAY, BLOCKS = (
    "optimization.learning_rate",
    "optimization.weight_decay",
    "network.blocks.1",
)

params = st.fixed_dictionaries(
    {
        RATE: st.floats(1e-3, 1.0),
        DECAY: st.floats(1e-6, 1e-2),
        BLOCKS: st.integers(1, 4),
        "seed": st.integers(0, 3),
    }
)


def test_distance_is_a_part_of_the_range_as_the_sampler_sees_it() -> None:
    default = nearest_params(JOINT)
    span = JOINT.search.searched[RATE]
    ends = [default | {RATE: span["low"]}, default | {RATE: span["high"]}]
    assert distance(*ends, JOINT) == 1
    middle = default | {RATE: (span["low"] * span["high"]) ** 0.5}
    assert abs(distance(ends[0], middle, JOINT) - 0.5) < 1e-9


def test_one_more_block_and_another_choice_are_another_candidate(
    tiny_settings: dict[str, Any],
) -> None:
    default = nearest_params(JOINT)
    more = default | {BLOCKS: default[BLOCKS] + 1}
    assert distance(default, more, JOINT) > NEAR
    config = configured(tiny_settings, {"search.space": CONDITIONAL})
    sgd = nearest_params(config)
    assert distance(sgd, sgd | {"augmentation.crop": "padded"}, config) == 1
    adamw = {key: value for key, value in sgd.items() if "momentum" not in key}
    assert distance(sgd, adamw, config) == 1


def test_a_seed_makes_no_other_candidate() -> None:
    assert distance({"network.dropout": 0.1, "seed": 1}, {"network.dropout": 0.1}, JOINT) == 0


@given(st.lists(params, max_size=30), st.integers(1, 5))
def test_candidates_are_distinct_and_the_best_that_are(points: list[Any], most: int) -> None:
    rows = [search_row(number, point) for number, point in enumerate(points)]
    found = distinct(rows, JOINT, most=most)
    assert len(found) <= most
    assert found[:1] == rows[:1]
    for place, row in enumerate(found):
        assert all(distance(row.params, o.params, JOINT) > NEAR for o in found[:place])
    left_out = [row for row in rows if row not in found]
    if len(found) < most:  # whatever was left out lies near one that was found
        for row in left_out:
            assert any(distance(row.params, one.params, JOINT) <= NEAR for one in found)


def test_control_is_the_first_trial_and_candidates_are_complete(
    tiny_settings: dict[str, Any],
) -> None:
    session = initialise(validated(deepcopy(tiny_settings)))
    pretend_to_search(session, [[0.2, 0.5, 0.4], [0.3, 0.6, 0.9], [0.1, 0.2]])
    control = find_control(session)
    assert control.trial == 0
    assert control.params == nearest_params(session.config)
    found = find_candidates(session)
    assert [one.trial for one in found] == [1, 0]
    assert [one.search_score for one in found] == [0.9, 0.5]
    assert all(one.cost > 0 for one in found)


def test_control_of_a_search_that_never_tried_the_configured_values(
    tiny_settings: dict[str, Any],
) -> None:
    config = validated(deepcopy(tiny_settings))
    session = initialise(config)
    pretend_to_search(session, [[0.1, 0.2, 0.3]] * 3)
    trial = read_trials(session.storage_handle, "tiny")[0]
    other = configured(tiny_settings, {"optimization.learning_rate": 0.0123})
    elsewhere = replace(session, config=other)
    control = find_control(elsewhere)
    assert control.trial is None
    assert control.params[RATE] == 0.0123 != trial.params[RATE]


def test_control_of_given_points_is_the_first_of_them(tiny_settings: dict[str, Any]) -> None:
    points = [{"network.dropout": 0.3}, {"network.dropout": 0.1}]
    session = initialise(
        configured(
            tiny_settings,
            {"search.space": "given", "search.points": points, "search.budget": {"trials": 2}},
        )
    )
    pretend_to_search(session, [[0.2, 0.3, 0.3], [0.1, 0.2, 0.5]])
    assert find_control(session).params == {"network.dropout": 0.3}
