"""Trials that come into a study beside its queue: by `study enqueue`, or by Optuna's own tools."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from dashboards.analysis.status import read_status
from data.image_cache import prepare
from storage.adoption import ENQUEUED
from storage.budget import Budget
from storage.optuna_rows import FIXED_PARAMS, SLOT
from storage.records import read_protocol
from storage.trial_rows import best_complete, read_trials
from study.configuration.config import Request
from study.creation.create import initialise
from study.creation.extend import extend_budget
from study.errors import StudyError
from study.final.final_run import open_final
from study.session.enqueue import adopt_enqueued, enqueue
from study.session.session import StudySession, open_session
from study.session.winner import choose_winner
from study.stop_signal import StopFlag
from study.workers.worker import Worker
from tests.postgresql import requires_postgresql, running_server
from tests.study.conftest import Call
from tests.study.searches import configured, pretend_to_search

Settings = dict[str, Any]
OPTUNA = str(Path(sys.executable).with_name("optuna"))
RATE, DECAY, DROPOUT = "optimization.learning_rate", "optimization.weight_decay", "network.dropout"
KNOWN = {RATE: 0.1, DECAY: 1e-4}
KNOWN |= {"network.blocks.1": 2, "network.blocks.2": 1, "network.blocks.3": 2}


@pytest.fixture
def session(tiny_settings: Settings) -> StudySession:
    return initialise(configured(tiny_settings, {"search.budget.trials": 2, "search.n_epochs": 1}))


def by_optuna(session: StudySession) -> optuna.Study:
    """Return the study as a program of somebody else opens it."""
    return optuna.load_study(study_name="tiny", storage=session.config.storage.url)


def optuna_command(session: StudySession, *arguments: str) -> str:
    place = ["--storage", session.config.storage.url, "--study-name", "tiny"]
    command = [OPTUNA, *arguments, *place]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def work(session: StudySession) -> list[int]:
    """Work on a study to its end; return the trials in the order of their epochs."""
    trained: list[int] = []
    Worker(
        session,
        prepare(session.config.data),
        stop=StopFlag(),
        announce=lambda number, _result: trained.append(number),
    ).work()
    return trained


def opened(session: StudySession) -> StudySession:
    """Return the study as another process opens it."""
    where = session.config.storage
    return open_session(
        Request(options={"storage.url": where.url, "storage.runs": str(where.runs)})
    )


def place(session: StudySession) -> list[str]:
    where = session.config.storage
    return ["--storage", where.url, "--runs", str(where.runs)]


def test_point_enqueued_by_optuna_is_a_slot_of_its_own_and_trained_before_what_is_sampled(
    session: StudySession,
) -> None:
    theirs = {"reason": "a hunch", "host": "laptop", "label": 1, "paused": 1, "mine": 7}
    by_optuna(session).enqueue_trial({RATE: 0.1, "network.blocks.2": 2}, user_attrs=theirs)
    assert work(session) == [0, 2, 1]
    first, second, third = session.optuna_study().trials
    assert [trial.user_attrs[SLOT] for trial in (first, second, third)] == [0, 1, 2]
    assert third.state == TrialState.COMPLETE
    assert (third.params[RATE], third.params["network.blocks.2"]) == (0.1, 2)
    assert third.params.keys() == first.params.keys()  # the rest was sampled
    assert (third.user_attrs["their reason"], third.user_attrs["mine"]) == ("a hunch", 7)
    assert session.trial_paths(2).best.is_file()
    status = read_status(session.storage_handle, "tiny")
    assert (status.budget, status.done, status.is_over) == (3, 3, True)


REJECTED: list[tuple[dict[str, Any], str]] = [
    ({RATE: 7.0}, f"{RATE} must be a number from 0.001 to 1, got 7.0"),
    ({RATE: math.nan}, f"{RATE} must be a number from 0.001 to 1, got nan"),
    ({"network.blocks.2": 3}, "network.blocks.2 must be a whole number from 1 to 2, got 3"),
    ({"network.blocks.2": 1.5}, "network.blocks.2 must be a whole number from 1 to 2, got 1.5"),
    ({DROPOUT: True}, f"{DROPOUT} must be a number from 0 to 0.5, got True"),
    ({DROPOUT: "much"}, f"{DROPOUT} must be a number from 0 to 0.5, got 'much'"),
    ({"droput": 0.1}, "droput must be a hyperparameter that study 'tiny' searches (network.blo"),
]


def test_point_outside_the_space_fails_with_parameter_rule_and_value_and_the_others_are_trained(
    session: StudySession,
) -> None:
    for params, _ in REJECTED:
        by_optuna(session).enqueue_trial(params)
    assert work(session) == [0, 1]
    failed = session.optuna_study().get_trials()[2:]
    assert [trial.state for trial in failed] == [TrialState.FAIL] * len(REJECTED)
    for trial, (_, message) in zip(failed, REJECTED, strict=True):
        assert trial.user_attrs["reason"]["kind"] == "rejected"
        assert message in trial.user_attrs["reason"]["message"]
    status = read_status(session.storage_handle, "tiny")
    assert (status.budget, status.complete, status.failed) == (9, 2, 7)


def test_copy_of_a_trial_does_not_share_its_run_folder(session: StudySession) -> None:
    study = by_optuna(session)
    work(session)
    best = session.optuna_study().get_trials()[0]
    study.enqueue_trial(best.params, user_attrs=best.user_attrs)
    study.add_trial(best)
    assert work(session) == [2]
    slots = {trial.number: trial.user_attrs[SLOT] for trial in session.optuna_study().trials}
    assert slots == {0: 0, 1: 1, 2: 2}


def test_given_study_rejects_what_is_enqueued(tiny_settings: Settings) -> None:
    points = [{"network.dropout": 0.1}, {"network.dropout": 0.3}]
    changes = {"search.space": "given", "search.points": points, "search.budget.trials": 2}
    session = initialise(configured(tiny_settings, changes))
    by_optuna(session).enqueue_trial({"network.dropout": 0.1})
    session = adopt_enqueued(session)
    reason = session.optuna_study().get_trials()[2].user_attrs["reason"]["message"]
    assert reason.startswith("study 'tiny' must train its given points only, got {'network.dr")
    with pytest.raises(StudyError, match="must train its given points only"):
        enqueue(session, ["dropout=0.1"])


@pytest.mark.slow
def test_results_of_optunas_tools_win_nothing_and_mislead_neither_sampler_nor_views(
    session: StudySession, call: Call
) -> None:
    assert work(session) == [0, 1]
    optuna_command(session, "ask")
    optuna_command(session, "tell", "--trial-number", "2", "--values", "0.99")
    optuna_command(session, "ask")  # and never told
    assert len(by_optuna(session).trials) == 4
    assert work(session) == []  # ends, though one runs for ever
    rows = read_trials(session.storage_handle, "tiny")
    assert [row.number for row in rows] == [0, 1]
    best = best_complete(rows)
    assert best is not None and choose_winner(session).number == best.number
    status = read_status(session.storage_handle, "tiny")
    assert (status.budget, status.done, status.running, status.is_over) == (2, 2, 0, True)
    assert all(row.params.keys() == rows[0].params.keys() for row in rows)
    assert len(session.optuna_study()._get_trials(use_cache=True)) == 2  # as samplers ask
    for command in ("best", "trials"):
        shown = json.loads(call(command, *place(session), "--json").out)
        assert "0.99" not in str(shown)
    assert call("report", *place(session)).code == 0
    told = call("doctor", *place(session)).out.splitlines()
    assert told == [
        "study tiny, trial 2: complete, the work of another program: "
        "left alone; search, best, report and final ignore it",
        "study tiny, trial 3: running, the work of another program: "
        "left alone; no worker claims it or waits for it",
        "nothing is left to repair",
    ]
    assert call("doctor", *place(session), "--repair").code == 0
    assert len(by_optuna(session).trials) == 4
    assert open_final(session, best, reopen=None).optuna_study().trials[0].params == {}


def test_slot_that_optuna_asks_for_and_tells_is_trained_all_the_same(
    session: StudySession, call: Call
) -> None:
    enqueue(session, ["dropout=0.25"])
    optuna_command(session, "ask")  # Optuna claims the first that waits
    optuna_command(session, "tell", "--trial-number", "0", "--values", "0.99")
    study = by_optuna(session)
    asked = [study.ask().number, study.ask().number]
    study.tell(2, 0.98)
    assert asked == [1, 2]
    assert read_trials(session.storage_handle, "tiny")[0].number == 1
    told = call("doctor", *place(session), "--repair").out
    assert told.count("trial 0: complete, the work of another program: left alone; the next") == 1
    assert "missing in the queue" not in told
    assert work(session) == [1, 3, 4]
    own = session.optuna_study().get_trials()
    assert {trial.number: trial.user_attrs[SLOT] for trial in own} == {1: 1, 3: 0, 4: 2}
    assert own[2].params[DROPOUT] == 0.25
    assert max(trial.value for trial in own) < 0.98
    assert read_protocol(session.storage_handle.database, "tiny").budget == 3
    assert study.trials[0].value == 0.99  # as the other program left it


def test_trial_that_another_program_finishes_under_its_worker_is_trained_again(
    session: StudySession,
) -> None:
    study = by_optuna(session)

    def tell(number: int, _result: object) -> None:
        if number == 0:
            study.tell(number, 0.99)

    Worker(session, prepare(session.config.data), stop=StopFlag(), announce=tell).work()
    own = session.optuna_study().get_trials()
    assert {trial.number: trial.user_attrs[SLOT] for trial in own} == {1: 1, 2: 0}
    assert [trial.state for trial in own] == [TrialState.COMPLETE] * 2
    assert own[1].params == study.trials[0].params
    assert max(trial.value for trial in own) < 0.99


def test_foreign_trials_of_final_runs_are_ignored(session: StudySession) -> None:
    pretend_to_search(session, [[0.3], [0.4]])
    final = open_final(session, choose_winner(session), reopen=None)
    theirs = optuna.load_study(study_name="tiny-final", storage=final.config.storage.url)
    theirs.enqueue_trial({RATE: 0.5})
    theirs.add_trial(create_trial(value=0.99))
    assert work(final) == [0] * final.config.search.n_epochs
    again = open_final(session, choose_winner(session), reopen=None)
    assert [trial.number for trial in again.optuna_study().trials] == [0]


def test_known_configuration_is_trained_before_what_is_sampled(
    session: StudySession, call: Call
) -> None:
    given = ["learning_rate=1e-1", "weight_decay=1e-4", "blocks=2-1-2"]
    said = call("enqueue", *given, *place(session))
    assert (said.code, said.err) == (0, "")
    first, last = said.out.splitlines()
    assert first.startswith("trial 2 comes before all that are sampled, in slot 2; the budget of")
    assert first.endswith("of study tiny is 3 trials")
    assert last.startswith("running workers claim it, else: study run --name tiny --storage ")
    trial = session.optuna_study().get_trials()[2]
    assert (trial.system_attrs[FIXED_PARAMS], trial.user_attrs[SLOT]) == (KNOWN, 2)
    again = call("enqueue", *reversed(given), *place(session))
    assert again.out == "trial 2 has these hyperparameters already: waiting\n"
    assert work(session) == [0, 2, 1]
    again = call("enqueue", *given, *place(session))
    assert again.out == "trial 2 has these hyperparameters already: complete\n"
    assert read_protocol(session.storage_handle.database, "tiny").budget == 3
    params = session.optuna_study().get_trials()[2].params
    assert KNOWN.items() <= params.items() and DROPOUT in params


def test_configuration_that_failed_may_be_enqueued_again(session: StudySession) -> None:
    trial, is_new = enqueue(session, ["dropout=0.2"])
    assert is_new
    session.storage_handle.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    session.storage_handle.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    again, is_new = enqueue(session, ["dropout=0.2"])
    assert is_new and (again.number, again.user_attrs[SLOT]) == (3, 3)


def test_enqueueing_whose_answer_was_lost_adds_nothing_twice(session: StudySession) -> None:
    trial, _ = enqueue(session, ["dropout=0.2"])
    handle, study_id = session.storage_handle, session.optuna_study()._study_id
    template = create_trial(
        state=TrialState.WAITING, user_attrs={ENQUEUED: trial.user_attrs[ENQUEUED]}
    )
    assert handle.create_new_trial(study_id, template) == trial._trial_id
    adopt_enqueued(session)
    assert len(by_optuna(session).trials) == 3


MISTAKES = [
    (["learning_rate"], "KEY=VALUE must give a hyperparameter, got 'learning_rate': for example"),
    (
        ["learning_rate=2"],
        f"{RATE} must be a number from 0.001 to 1, got 2: give one within",
    ),
    (["learning_rte=0.1"], "got learning_rte=0.1: did you mean optimization.learning_rate?"),
    (["network.width=9"], "got network.width=9: leave it out, or fork the study"),
    (["dropout=0.1", "dropout=0.2"], "dropout must be given once, got 'dropout=0.2' too"),
    (
        ["blocks=2-2"],
        "blocks must have one number for each stage (3), got '2-2': for example blocks=2-2-2",
    ),
    (
        ["blocks=2-2-9"],
        "network.blocks.3 must be a whole number from 1 to 2, got 9: give one within s",
    ),
    (["blocks=2-2-2", "blocks_1=1"], "network.blocks.1 must be given once, got 'blocks_1=1' too"),
    (["dropout={"], DROPOUT + " must be a number from 0 to 0.5, got '{'"),
    ([], "Missing argument 'KEY=VALUE...'"),
]


def test_mistaken_configuration_is_rejected_in_one_line(session: StudySession, call: Call) -> None:
    for given, message in MISTAKES:
        ended = call("enqueue", *given, *place(session))
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), given
        assert message in ended.err
    assert len(by_optuna(session).trials) == 2


def test_blocks_of_four_stages_are_enqueued_and_of_three_rejected(
    tiny_settings: Settings,
) -> None:
    stages = {"network.widths": [4, 4, 8, 8], "network.blocks": [1, 1, 1, 1]}
    session = initialise(configured(tiny_settings, stages))
    trial, is_new = enqueue(session, ["blocks=2-1-2-1"])
    assert is_new and trial.system_attrs[FIXED_PARAMS] == {
        f"network.blocks.{stage}": count for stage, count in enumerate([2, 1, 2, 1], start=1)
    }
    with pytest.raises(StudyError, match=r"each stage \(4\), got '2-2-2': .* blocks=2-2-2-2"):
        enqueue(session, ["blocks=2-2-2"])
    with pytest.raises(
        StudyError, match=r"blocks\.4 must be .* got 9: .* search\.space\.network\.blocks "
    ):
        enqueue(session, ["blocks=2-2-2-9"])


def test_hyperparameter_that_the_space_leaves_out_is_rejected(tiny_settings: Settings) -> None:
    session = initialise(configured(tiny_settings, {"search.space": "lr-wd"}))
    with pytest.raises(
        StudyError,
        match=r"searches \(optimization\.learning_rate, optimization\.weight_decay\), got dropout",
    ):
        enqueue(session, ["dropout=0.1"])


def race_of_adoptions(session: StudySession, opening: Callable[[], StudySession]) -> None:
    """Let programs enqueue, workers adopt, and a person extend, all at once."""
    n_each, n_programs = 5, 2

    def enqueue_some(index: int) -> None:
        study = by_optuna(session)
        for one in range(n_each):
            study.enqueue_trial({DROPOUT: 0.01 * (index + n_programs * one)})

    def adopt_some(_index: int) -> None:
        mine = opening()
        for _ in range(n_each):
            adopt_enqueued(mine)
        mine.storage_handle.engine.dispose()

    def extend_some(_index: int) -> None:
        mine = opening()
        for _ in range(n_each):
            extend_budget(mine, Budget("trials", 1))
        mine.storage_handle.engine.dispose()

    works = [enqueue_some, adopt_some, extend_some]
    with ThreadPoolExecutor(len(works) * n_programs) as pool:
        futures = [pool.submit(one, index) for one in works for index in range(n_programs)]
        for future in futures:
            future.result()
    adopt_enqueued(session)
    trials = session.optuna_study().get_trials()
    n_trials = 2 + 2 * n_programs * n_each
    assert sorted(trial.user_attrs[SLOT] for trial in trials) == list(range(n_trials))
    budget = read_protocol(session.storage_handle.database, "tiny").budget
    assert budget == n_trials
    given = [
        trial.system_attrs[FIXED_PARAMS][DROPOUT] for trial in trials[2:] if trial.system_attrs
    ]
    assert len(set(given)) == len(given) == n_programs * n_each


def test_race_of_adoptions_and_extensions_leaves_each_slot_once(session: StudySession) -> None:
    race_of_adoptions(session, lambda: opened(session))


@pytest.mark.slow
@requires_postgresql
def test_race_of_adoptions_on_postgresql(tiny_settings: Settings) -> None:
    with running_server() as url:
        changes = {"search.budget.trials": 2, "storage.url": url}
        session = initialise(configured(tiny_settings, changes))
        race_of_adoptions(session, lambda: opened(session))
        session.storage_handle.remove_session()
        session.storage_handle.engine.dispose()


def test_sampler_still_learns_all_hyperparameters_together_after_a_foreign_result(
    session: StudySession,
) -> None:
    pretend_to_search(session, [[0.3], [0.4]])
    space = optuna.search_space.intersection_search_space(session.optuna_study().get_trials())
    by_optuna(session).add_trial(
        create_trial(value=0.99, params={"x": 1.0}, distributions={"x": FloatDistribution(0, 2)})
    )
    sampler = optuna.samplers.TPESampler()
    study = session.optuna_study()
    waiting = study.get_trials()[0]
    assert sampler.infer_relative_search_space(study, waiting).keys() == space.keys()
