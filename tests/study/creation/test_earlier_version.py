"""A study that a version stored whose spaces had names, ranges beside them, and short names."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from storage.budget import Budget
from storage.optuna_rows import FIXED_PARAMS
from study.creation.create import initialise
from study.creation.extend import extend_budget
from study.creation.fork import fork
from study.session.enqueue import enqueue
from study.session.session import StudySession, open_session
from study.trial.samplers import build_sampler
from tests.study.conftest import Call
from tests.study.creation.test_fork import asking, imported
from tests.study.searches import configured, pretend_to_search

NAMES = {"blocks_1", "blocks_2", "blocks_3", "dropout", "learning_rate", "weight_decay"}
DOTTED = {
    *(f"network.blocks.{stage}" for stage in (1, 2, 3)),
    "network.dropout",
    "optimization.learning_rate",
    "optimization.weight_decay",
}
RANGES = {
    "learning_rate": None,
    "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
    "blocks": {"low": 1, "high": 2},
    "dropout": {"low": 0.0, "high": 0.5, "log": False},
}


@pytest.fixture
def session(tiny_settings: dict[str, Any], tmp_path: Path) -> StudySession:
    """Three trials with a result, one of them pruned; none of the configured values."""
    made = initialise(configured(tiny_settings, {"search.param_names": "short"}))
    handle, first = made.storage_handle, made.optuna_study().trials[0]
    handle.set_trial_system_attr(first._trial_id, FIXED_PARAMS, {"dropout": 0.3})
    pretend_to_search(made)
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
        (text,) = connection.execute("SELECT configuration FROM protocols").fetchone()
        values = json.loads(text)
        values["search"] |= {"space": "joint", "ranges": RANGES}
        del values["search"]["param_names"]
        values["search"]["n_trials"] = values["search"].pop("budget")["trials"]
        connection.execute("UPDATE protocols SET configuration = ?", [json.dumps(values)])
        connection.execute("DELETE FROM trial_system_attributes WHERE key = ?", [FIXED_PARAMS])
    return open_session(asking(made))


def test_study_goes_on_under_the_names_that_it_has(session: StudySession) -> None:
    assert session.config.search.param_names == "short"
    assert session.config.search.searched["network.blocks"]["high"] == 2
    larger = extend_budget(session, Budget("trials", 2))
    pretend_to_search(larger, [[0.2, 0.3, 0.4]] * 2)
    trials = larger.optuna_study().trials
    assert len(trials) == 5 and all(set(trial.params) == NAMES for trial in trials)
    sampler = build_sampler(larger.config.search, seed=1, number=5)
    space = sampler.infer_relative_search_space(larger.optuna_study(), trials[0])
    assert set(space) == NAMES


def test_first_trial_that_is_added_has_the_configured_values(session: StudySession) -> None:
    larger = extend_budget(session, Budget("trials", 2))
    added = larger.optuna_study().trials[-2:]
    assert [FIXED_PARAMS in trial.system_attrs for trial in added] == [True, False]
    assert added[0].system_attrs[FIXED_PARAMS] == {
        **{f"blocks_{stage}": 2 for stage in (1, 2, 3)},
        "dropout": 0.1,
        "learning_rate": 0.1,
        "weight_decay": 0.0005,
    }
    again = extend_budget(larger, Budget("trials", 1))
    assert FIXED_PARAMS not in again.optuna_study().trials[-1].system_attrs


def test_fork_translates_the_names(session: StudySession) -> None:
    old = {trial.number: trial.params for trial in session.optuna_study().trials}
    forked, ancestry = fork(asking(session, "search.space.network.dropout.high=0.6"), "changed")
    assert (ancestry.taken_over, ancestry.left_out) == (3, 0)
    assert [one["key"] for one in ancestry.changes] == ["search.space.network.dropout.high"]
    for row in imported(forked):
        params = old[row.user_attrs["taken_over_from"]["trial"]]
        assert set(row.params) == DOTTED
        assert row.params["network.blocks.3"] == params["blocks_3"]
        assert row.params["optimization.learning_rate"] == params["learning_rate"]


def test_known_configuration_is_enqueued_by_either_name(session: StudySession) -> None:
    given = ["network.dropout=0.2", "learning_rate=0.1", "blocks=1-2-1"]
    trial, is_new = enqueue(session, given)
    assert is_new and trial.system_attrs[FIXED_PARAMS] == {
        "blocks_1": 1,
        "blocks_2": 2,
        "blocks_3": 1,
        "dropout": 0.2,
        "learning_rate": 0.1,
    }


def test_same_file_as_before_resumes_it_where_its_ranges_are_a_space_now(
    session: StudySession, call: Call, config_file: str
) -> None:
    resumed = call("init", "--config", config_file)
    assert resumed.code == 0, resumed.err
    assert call("doctor", "--config", config_file).code == 0


def test_short_names_are_for_the_settings_that_earlier_versions_searched(
    call: Call, config_file: str
) -> None:
    space = "search.space={optimization.momentum: {low: 0.5, high: 0.9}}"
    words = ["--set", "search.param_names=short", "--set", space]
    ended = call("init", "--config", config_file, *words)
    assert ended.code == 2
    assert "search.param_names must be dotted to search optimization.momentum" in ended.err
