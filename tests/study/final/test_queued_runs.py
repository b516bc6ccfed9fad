"""Which final runs a command queues, without training them."""

from typing import Any

import pytest

from storage.optuna_rows import FIXED_PARAMS
from storage.trial_rows import TrialRow, read_trials
from study.commands.winner.final import _say_runs
from study.configuration.fixed_trial import FixedTrial
from study.configuration.points import configured_by
from study.creation.create import initialise
from study.final.final_run import open_final
from study.final.queued_runs import is_control, queued_trial, read_queue, slot_of
from study.session.session import StudySession
from study.session.winner import why_chosen
from study.trial.identity import Identity
from tests.study.searches import configured, pretend_to_search

POINTS = [
    {"network.dropout": 0.3, "seed": 1},
    {"network.dropout": 0.3, "seed": 2},
    {"network.dropout": 0.1, "seed": 1},
]
GIVEN = {"search.space": "given", "search.points": POINTS, "search.budget": {"trials": 3}}
SHORT = {"final.n_epochs": 1, "final.image_size": 8, "final.threads": 1}


@pytest.fixture
def compared(tiny_settings: dict[str, Any]) -> StudySession:
    """A comparison of two settings, the first of them with two seeds."""
    session = initialise(configured(tiny_settings, GIVEN | SHORT))
    pretend_to_search(session, [[0.2, 0.3, 0.3], [0.1, 0.2, 0.5], [0.1, 0.2, 0.2]])
    return session


def trial(session: StudySession, number: int) -> TrialRow:
    return read_trials(session.storage_handle, session.protocol.study_name)[number]


def test_default_of_another_seed_is_its_own_control(compared: StudySession) -> None:
    assert [is_control(compared, trial(compared, number)) for number in range(3)] == [
        True,
        True,
        False,
    ]


def test_seed_that_is_named_beforehand_is_that_of_the_run(compared: StudySession) -> None:
    final = open_final(compared, trial(compared, 1), reopen=None, seeds=2)
    for run in read_queue(final):
        given = FixedTrial(run.system_attrs[FIXED_PARAMS])
        configuration, _ = configured_by(given, final.config)
        identity = Identity.of(final, configuration, slot_of(run))
        assert run.user_attrs["seed"] == identity.run.seed


def test_winner_of_a_comparison_is_said_to_be_unconfirmed(compared: StudySession) -> None:
    assert "it is not confirmed" in why_chosen(compared, trial(compared, 1))


def test_final_runs_of_an_earlier_winner_go_on_and_the_new_one_is_told(
    compared: StudySession, capsys: pytest.CaptureFixture[str]
) -> None:
    open_final(compared, trial(compared, 2), reopen=None)
    winner = trial(compared, 1)  # as after a confirmation in between
    final = open_final(compared, winner, reopen=None)
    assert queued_trial(final) == 2
    _say_runs(compared, winner, final, with_control=False)
    assert "caution: the final runs of trial 2 were queued before, and go on" in (
        capsys.readouterr().out
    )
    _say_runs(compared, trial(compared, 2), final, with_control=False)
    assert capsys.readouterr().out == ""
