"""Final runs of several seeds, with and without a control: queued, trained, tested at once."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from optuna.trial import TrialState

from dashboards.analysis.final_run_status import read_final_run_statuses
from data.image_cache import Examples, PreparedData
from model.seeds import derive_seed
from storage.optuna_rows import BEST_EPOCH
from storage.test_evaluations import count_openings, read_tests
from storage.trial_rows import TrialRow, read_trials
from study.configuration.config import validated
from study.creation.create import initialise
from study.errors import ProtocolError, StudyError
from study.export.kept_run import open_tested
from study.final.final_run import open_final, run_final
from study.final.queued_runs import describe_runs, is_control, read_queue
from study.final.test_evaluation import FinalResult
from study.session.session import StudySession
from study.stop_signal import StopFlag
from study.workers.worker import Worker
from tests.study.conftest import Call

Settings = dict[str, object]
SHORT = {"final": {"n_epochs": 1, "image_size": 8, "threads": 1}, "seed": 7}


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing: `test_final_run.py` looks at the pictures."""
    for name in ("confusion_matrix_figure", "mistakes_figure", "save_png", "write_test"):
        monkeypatch.setattr(f"study.final.test_files.{name}", lambda *_, **__: None)


@pytest.fixture
def searched(tiny_settings: Settings) -> StudySession:
    """A search of two trials, the first of which has the configured values."""
    settings = deepcopy(tiny_settings) | SHORT
    settings["search"] |= {"budget": {"trials": 2}, "n_epochs": 1}  # type: ignore[operator]
    session = initialise(validated(settings))
    Worker(session, session.prepare_data(), stop=StopFlag(), announce=lambda *_: None).work()
    return session


@pytest.fixture
def winner(searched: StudySession) -> TrialRow:
    """The trial that has not the configured values."""
    return read_trials(searched.storage_handle, "tiny")[1]


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fingerprint of the data at each opening of a test split."""
    opened: list[str] = []
    opening = PreparedData.test

    def counted(prepared: PreparedData) -> Examples:
        opened.append(prepared.fingerprint)
        return opening(prepared)

    monkeypatch.setattr(PreparedData, "test", counted)
    return opened


def finish(final: StudySession, stop: StopFlag | None = None) -> FinalResult | None:
    prepared = final.prepare_data()
    return run_final(final, prepared, stop=stop or StopFlag(), announce=lambda *_: None)


def roles(session: StudySession) -> list[tuple[str, int]]:
    """Return the roles and searched trials of all final runs, by slot."""
    noted = [run.user_attrs for run in read_queue(session)]
    return [(one["role"], one["searched_trial"]) for one in noted]


def test_runs_of_seeds_and_control_are_named_beforehand_and_tested_at_once(
    searched: StudySession, winner: TrialRow, openings: list[str], tmp_path: Path
) -> None:
    final = open_final(searched, winner, reopen=None, seeds=2, with_control=True)
    assert roles(searched) == [("winner", 1), ("winner", 1), ("control", 0), ("control", 0)]
    seeds = [run.user_attrs["seed"] for run in read_queue(final)]
    assert seeds == [derive_seed(7, "final", slot) for slot in range(4)]
    said = describe_runs(final)
    assert said[0].startswith(
        f"4 final runs, one after the other: 2 of the winner (seeds {seeds[0]}"
    )
    assert "study worker --name tiny-final" in said[1]
    states = read_final_run_statuses(final.storage_handle, "tiny", now=0.0)
    assert [(run.role, run.seed, run.is_first) for run in states][::3] == [
        ("winner", seeds[0], True),
        ("control", seeds[3], False),
    ]

    result = finish(final)
    assert result is not None and result.paths.folder == tmp_path / "runs" / "tiny" / "final"
    assert len(openings) == 1 and count_openings(final.storage_handle.database, "tiny") == 1
    files = [final.trial_paths(slot) for slot in range(4)]
    metrics = [json.loads(one.metrics.read_text()) for one in files]
    assert [one["seed"] for one in metrics] == seeds
    assert all(len(one.predictions.read_text().splitlines()) == 1 + 7 for one in files)
    tests = read_tests(final.storage_handle.database, "tiny")
    assert [test.metrics for test in tests] == [one["test"] for one in metrics]
    assert [one["n_test_evaluations"] for one in metrics] == [1] * 4

    group = metrics[0].pop("group")
    assert not any("group" in one for one in metrics)
    scores = [one["test"]["macro_f1"] for one in metrics]
    assert [run["test_macro_f1"] for run in group["runs"]] == scores
    assert group["winner"]["macro_f1"] == pytest.approx(sum(scores[:2]) / 2)
    gained = (sum(scores[:2]) - sum(scores[2:])) / 2
    assert group["gain"]["macro_f1"] == pytest.approx(gained)
    low, high = group["gain"]["interval_90"]
    assert low <= gained <= high
    assert open_tested(final).row.slot == 0, "the first named, not the luckiest"

    before = {path: path.read_bytes() for one in files for path in one.folder.glob("*.*")}
    again = finish(open_final(searched, winner, reopen=None))
    assert again is not None and again.was_done and len(openings) == 1
    files[2].metrics.unlink()  # as when the test was cut off before its end
    taken = finish(open_final(searched, winner, reopen=None, seeds=2, with_control=True))
    assert taken is not None and not taken.was_done
    assert {path: path.read_bytes() for path in before} == before
    assert count_openings(final.storage_handle.database, "tiny") == 1


def test_other_runs_than_queued_are_rejected_until_a_reason_is_given(
    searched: StudySession, winner: TrialRow, openings: list[str]
) -> None:
    final = open_final(searched, winner, reopen=None, seeds=2)
    for tested in (False, True):
        with pytest.raises(ProtocolError, match="--seeds must be 2, as the final .*, got 3"):
            open_final(searched, winner, reopen=None, seeds=3)
        with pytest.raises(ProtocolError, match="--with-control must be given when"):
            open_final(searched, winner, reopen=None, with_control=True)
        if not tested:
            assert finish(final) is not None
    assert len(read_queue(searched)) == 2 and len(openings) == 1
    open_final(searched, winner, reopen="a doubt", with_control=True)
    assert roles(searched)[2:] == [("winner", 1), ("control", 0)]


def test_configured_number_of_seeds_is_the_default_and_a_winner_is_its_own_control(
    searched: StudySession,
) -> None:
    longer = searched.config.replacing({"final.seeds": 2})
    object.__setattr__(searched, "config", longer)
    configured = read_trials(searched.storage_handle, "tiny")[0]
    assert is_control(searched, configured)
    final = open_final(searched, configured, reopen=None, with_control=True)
    assert roles(searched) == [("winner", 0), ("winner", 0)]
    assert final.config.workers.threads == 1
    object.__setattr__(searched, "config", longer.replacing({"final.threads": 2}))
    with pytest.raises(ProtocolError, match="final.threads is 1 there, 2 here"):
        open_final(searched, configured, reopen=None)


def test_another_seed_takes_the_role_of_a_run_that_failed(
    searched: StudySession, winner: TrialRow, openings: list[str]
) -> None:
    final = open_final(searched, winner, reopen=None, seeds=2, with_control=True)
    first = read_queue(searched)[0]
    final.storage_handle.set_trial_state_values(first._trial_id, TrialState.FAIL)
    with pytest.raises(StudyError, match="the same command queues another"):
        finish(final)
    assert not openings
    again = open_final(searched, winner, reopen=None)
    assert roles(searched)[4:] == [("winner", 1)]
    result = finish(again)
    assert result is not None and result.paths.folder.name == "final-2"
    assert len(result.metrics["group"]["runs"]) == 4 and len(openings) == 1
    assert open_tested(again).row.slot == 1


def test_queue_that_was_cut_off_is_filled_by_the_same_command(
    searched: StudySession, winner: TrialRow
) -> None:
    final = open_final(searched, winner, reopen=None)
    (only,) = read_queue(searched)
    handle = final.storage_handle
    handle.set_trial_state_values(only._trial_id, TrialState.FAIL)  # the next command adds a group
    wanted = open_final(searched, winner, reopen=None, seeds=2)
    assert (wanted.protocol.budget, len(read_queue(searched))) == (3, 3)
    runs = read_queue(searched)
    with handle.engine.begin() as connection:  # as if it had died after the first of the two
        connection.exec_driver_sql("UPDATE protocols SET budget = 1 WHERE budget = 3")
        for rows in ("trial_user_attributes", "trial_system_attributes", "trials"):
            connection.exec_driver_sql(f"DELETE FROM {rows} WHERE trial_id = {runs[2]._trial_id}")
    assert len(read_queue(searched)) == 2
    filled = open_final(searched, winner, reopen=None, seeds=2)
    assert filled.protocol.budget == 3
    assert [run.user_attrs for run in read_queue(searched)] == [run.user_attrs for run in runs]


def test_stopped_group_goes_on_with_the_run_that_is_left(
    searched: StudySession, winner: TrialRow, openings: list[str]
) -> None:
    final = open_final(searched, winner, reopen=None, seeds=2)

    class AfterOneRun(StopFlag):
        @property
        def is_set(self) -> bool:
            return read_queue(searched)[0].state.is_finished()

    assert finish(final, AfterOneRun()) is None
    states = [run.state for run in read_queue(searched)]
    assert states == [TrialState.COMPLETE, TrialState.WAITING] and not openings
    assert finish(open_final(searched, winner, reopen=None)) is not None and len(openings) == 1


def test_command_queues_what_its_options_say_and_leaves_in_order_when_its_time_is_over(
    searched: StudySession, call: Call
) -> None:
    place = searched.config.storage
    # Far more epochs than fit into a second, on any machine.
    where = ["--storage", place.url, "--runs", str(place.runs), "--set", "final.n_epochs=2000"]
    stopped = call("final", *where, "--seeds", "2", "--stop-after", "1s")
    assert stopped.code == 0, stopped.err
    assert stopped.out.splitlines()[-1] == (
        "stopped before the end of the final run: the same command continues"
    )
    for other, rule in (
        (
            ("--seeds", "3"),
            "study: --seeds must be 2, as the final runs were queued, got 3: leave",
        ),
        (("--set", "final.seeds=3"), "study: --seeds must be 2, as the final runs were queued"),
    ):
        rejected = call("final", *where, *other)
        assert rejected.code == 2 and rejected.err.splitlines()[-1].startswith(rule)
    assert len(read_queue(searched)) == 2


def test_old_final_run_without_a_group_goes_on_is_tested_and_reopened(
    searched: StudySession, winner: TrialRow, openings: list[str]
) -> None:
    final = open_final(searched, winner, reopen=None)
    handle, (run,) = final.storage_handle, read_queue(searched)
    with handle.engine.begin() as connection:
        for name in ("final_group", "role", "seed"):
            connection.exec_driver_sql(
                f"DELETE FROM trial_user_attributes WHERE key = '{name}' "
                f"AND trial_id = {run._trial_id}"
            )
    (shown,) = read_final_run_statuses(handle, "tiny", now=0.0)
    assert (shown.role, shown.seed, shown.is_first) == ("winner", None, True)
    with pytest.raises(ProtocolError, match="--seeds must be 1"):
        open_final(searched, winner, reopen=None, seeds=2)
    again = open_final(searched, winner, reopen=None)
    result = finish(again)
    assert result is not None and result.metrics["seed"] == derive_seed(7, "final", 0)
    assert BEST_EPOCH in read_queue(searched)[0].user_attrs
    assert open_tested(again).row.slot == 0
    reopened = open_final(searched, winner, reopen="more seeds", seeds=2)
    second = finish(reopened)
    assert second is not None and second.paths.folder.name == "final-2"
    assert open_tested(reopened).row.slot == 1 and len(openings) == 2
    assert second.metrics["n_test_evaluations"] == 2
