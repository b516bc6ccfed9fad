"""The first trial of a study has the configured values: what its search improves on."""

from typing import Any

from storage.optuna_rows import FIXED_PARAMS, SLOT
from study.creation.create import initialise
from study.creation.fork import fork
from study.session.session import StudySession
from tests.study.conftest import Call
from tests.study.creation.test_fork import asking
from tests.study.searches import configured

CONFIGURED = {
    **{f"network.blocks.{stage}": 2 for stage in (1, 2, 3)},
    "network.dropout": 0.1,
    "optimization.learning_rate": 0.1,
    "optimization.weight_decay": 0.0005,
}


def given(session: StudySession) -> dict[int, Any]:
    """Return the given hyperparameters of each slot."""
    trials = [trial for trial in session.optuna_study().trials if SLOT in trial.user_attrs]
    return {trial.user_attrs[SLOT]: trial.system_attrs.get(FIXED_PARAMS) for trial in trials}


def test_first_slot_has_the_configured_values_and_the_others_are_sampled(
    tiny_settings: dict[str, Any],
) -> None:
    session = initialise(configured(tiny_settings, {}))
    assert given(session) == {0: CONFIGURED, 1: None, 2: None}
    forked, _ = fork(asking(session, "search.space.network.dropout.high=0.6"), "changed")
    assert given(forked) == {0: CONFIGURED, 1: None, 2: None}


def test_study_without_a_space_needs_no_given_values(tiny_settings: dict[str, Any]) -> None:
    nothing = {"search.space": "fixed", "search.budget": {"trials": 1}}
    assert given(initialise(configured(tiny_settings, nothing))) == {0: None}


def test_value_outside_its_range_is_moved_to_the_nearest_and_said_once(
    call: Call, config_file: str, tiny_settings: dict[str, Any]
) -> None:
    space = "{network.dropout: {low: 0, high: 0.5}, network.activation: {choices: [gelu, elu]}}"
    words = ["--set", f"search.space={space}", "--set", "network.dropout=0.7"]
    ended = call("init", "--config", config_file, *words)
    assert ended.code == 0, ended.err
    (line,) = [line for line in ended.out.splitlines() if "outside the space" in line]
    assert line.startswith("caution: ") and line.endswith("or configure values within it")
    assert "network.dropout 0.5 for 0.7, network.activation gelu for relu" in line
    plain = call("init", "--config", config_file, "--name", "plain")
    assert plain.code == 0 and "outside the space" not in plain.out
