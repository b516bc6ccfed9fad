"""A study whose optimizer decides what else its trials draw, on every page that shows them."""

import csv
from pathlib import Path
from typing import Any

import optuna
import pytest

from dashboards.analysis.importances import read_importances
from dashboards.analysis.search_space import read_space
from dashboards.figures.base import svg
from dashboards.figures.live_shapes import live_parallel
from dashboards.figures.search import NOT_DRAWN, parallel_figure, slice_figure
from storage.optuna_rows import FIXED_PARAMS
from storage.trial_rows import read_trials
from study.creation.create import initialise
from study.creation.fork import fork
from study.session.enqueue import enqueue
from study.session.session import StudySession
from study.session.winner import choose_winner
from tests.study.conftest import Call
from tests.study.creation.test_fork import asking, imported
from tests.study.searches import CONDITIONAL, configured, pretend_to_search

N_TRIALS = 14
CURVES = [[0.1, 0.2, 0.3 + 0.01 * (7 * number % N_TRIALS)] for number in range(N_TRIALS)]
SGD_RATE, ADAMW_RATE = (f"optimization.learning_rate:{name}" for name in ("sgd", "adamw"))


@pytest.fixture
def session(tiny_settings: dict[str, Any]) -> StudySession:
    changes = {"search.space": CONDITIONAL, "search.budget": {"trials": N_TRIALS}}
    opened = initialise(configured(tiny_settings, changes))
    pretend_to_search(opened, CURVES)
    return opened


def test_every_trial_has_the_parameters_of_its_optimizer_only(session: StudySession) -> None:
    for trial in session.optuna_study().trials:
        optimizer = trial.params["optimization.optimizer"]
        assert f"optimization.learning_rate:{optimizer}" in trial.params
        assert ("optimization.momentum" in trial.params) == (optimizer == "sgd")
    first = session.optuna_study().trials[0]
    assert first.params == first.system_attrs[FIXED_PARAMS]
    assert (first.params[SGD_RATE], first.params["optimization.momentum"]) == (0.1, 0.9)


def test_figures_and_importances_bear_parameters_that_only_some_trials_have(
    session: StudySession,
) -> None:
    handle = session.storage_handle
    space, rows = read_space(handle, "tiny"), read_trials(handle, "tiny")
    labels = [one.label for one in space]
    assert "learning rate (sgd)" in labels and "blocks 1" in labels
    found = read_importances(handle, "tiny", space, is_given=False)
    assert set(found.shares) == {one.name for one in space}
    texts = svg(parallel_figure(space, rows))
    assert "not drawn" in texts
    live = live_parallel(space, rows)
    marks = {column["label"]: column["marks"] for column in live["columns"]}
    assert [NOT_DRAWN, "not drawn"] in marks["learning rate (adamw)"]
    assert [NOT_DRAWN, "not drawn"] not in marks["optimizer"]
    for one in space:
        assert svg(slice_figure(one, rows))


def test_every_command_shows_the_study(
    session: StudySession, call: Call, config_file: str, tmp_path: Path
) -> None:
    place = ["--storage", session.config.storage.url, "--runs", str(session.config.storage.runs)]
    listed = call("trials", *place)
    assert (listed.code, listed.err) == (0, "")
    assert "hyperparameters" in listed.out and "…" not in listed.out
    assert "optimizer adamw" in " ".join(listed.out.split())
    for words in (["best"], ["status"], ["report"], ["doctor"]):
        ended = call(*words, *place)
        assert ended.code == 0, ended.err
    assert "learning rate (sgd)" in session.paths.report.read_text()
    exported = call("export-trials", "--to", str(tmp_path / "table.csv"), *place)
    assert exported.code == 0, exported.err
    (table,) = [path for path in tmp_path.rglob("*.csv") if "epoch" not in path.name]
    with table.open() as opened:
        rows = list(csv.DictReader(opened))
    assert all(
        bool(row[f"params_{SGD_RATE}"]) != bool(row[f"params_{ADAMW_RATE}"]) for row in rows
    )


def test_fork_of_a_conditional_study_imports_what_fits(session: StudySession) -> None:
    n_sgd = sum(SGD_RATE in trial.params for trial in session.optuna_study().trials)
    wider = "search.space.network.blocks.high=3"
    _, ancestry = fork(asking(session, wider), "wider")
    assert ancestry.taken_over == N_TRIALS
    plain = "search.space.optimization.optimizer=none"
    rates = "search.space.optimization.learning_rate={low: 1e-3, high: 1}"
    steady = "search.space.optimization.momentum={low: 0.5, high: 0.99}"
    only_sgd, ancestry = fork(asking(session, plain, rates, steady), "only-sgd")
    assert 0 < n_sgd < N_TRIALS and ancestry.taken_over == n_sgd
    assert all("optimization.learning_rate" in row.params for row in imported(only_sgd))


def test_enqueued_rate_belongs_to_the_optimizer_beside_it(session: StudySession) -> None:
    trial, _ = enqueue(session, ["learning_rate=1e-4", "optimizer=adamw"])
    assert trial.system_attrs[FIXED_PARAMS] == {
        ADAMW_RATE: 1e-4,
        "optimization.optimizer": "adamw",
    }


MISTAKES = [
    (["learning_rate=1e-4"], "learning_rate must be given with what decides its range (optimiz"),
    (["learning_rate=1", "optimizer=adamw"], f"{ADAMW_RATE} must be a number from 1e-05 to 0.01"),
    (["momentum=0.9"], "optimization.momentum must be given with optimization.optimizer=sgd, un"),
    (["optimizer=adam"], "optimization.optimizer must be one of sgd, adamw, got 'adam': give one"),
]


@pytest.mark.parametrize(("given", "message"), MISTAKES)
def test_enqueued_configuration_that_no_trial_may_have_is_rejected(
    session: StudySession, call: Call, given: list[str], message: str
) -> None:
    place = ["--storage", session.config.storage.url, "--runs", str(session.config.storage.runs)]
    ended = call("enqueue", *given, *place)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert message in ended.err


def test_winner_is_trained_as_it_was(session: StudySession) -> None:
    winner = choose_winner(session)
    trial = next(t for t in session.optuna_study().trials if t.number == winner.number)
    assert winner.params == trial.params and trial.state is optuna.trial.TrialState.COMPLETE
