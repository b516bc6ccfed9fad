import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from dashboards.analysis.status import read_status
from dashboards.terminal.status import status_line
from data.image_cache import prepare
from storage.errors import StudyNotFoundError
from storage.records import IMPORTED_FROM, read_epochs
from storage.trial_rows import read_trials
from study.configuration.config import Request
from study.creation.create import initialise
from study.creation.extend import extend
from study.creation.fork import Ancestry, fork
from study.creation.queue import SAMPLED
from study.errors import ConfigurationError, ProtocolError, StudyError
from study.final.final_run import open_final
from study.session.session import StudySession, open_session
from study.session.winner import choose_winner
from study.stop_signal import StopFlag
from study.trial.samplers import build_sampler
from study.workers.worker import Worker
from tests.study.conftest import ROOT, Call
from tests.study.searches import configured, pretend_to_search

Settings = dict[str, Any]
LARGER = "search.space.network.dropout.high=0.6"


@pytest.fixture
def searched(tiny_settings: Settings) -> StudySession:
    """Two complete trials, a pruned, a failed and a waiting one."""
    session = initialise(configured(tiny_settings, {"search.budget.trials": 5}))
    pretend_to_search(session)
    return session


def asking(session: StudySession, *assignments: str, **options: object) -> Request:
    place = session.config.storage
    there = {"storage.url": place.url, "storage.runs": str(place.runs), "name": "tiny"}
    return Request(assignments=assignments, options=there | options)


def imported(session: StudySession) -> list[FrozenTrial]:
    trials = session.optuna_study().trials
    return [trial for trial in trials if IMPORTED_FROM in trial.user_attrs]


def slots(session: StudySession) -> list[int]:
    trials = session.optuna_study().trials
    return [trial.user_attrs["slot"] for trial in trials if "slot" in trial.user_attrs]


def test_fork_imports_finished_trials_with_all_that_is_known_of_them(
    searched: StudySession,
) -> None:
    session, ancestry = fork(asking(searched, "search.n_startup_trials=1"), "changed")
    assert (ancestry.taken_over, ancestry.left_out, ancestry.why_nothing) == (3, 0, None)
    old = searched.optuna_study().trials
    rows = imported(session)
    assert [row.user_attrs[IMPORTED_FROM]["trial"] for row in rows] == [0, 1, 2]
    records = read_epochs(
        session.storage_handle.database, [trial._trial_id for trial in [*old, *rows]]
    )
    for row, trial in zip(rows, old, strict=False):
        assert (row.state, row.values, row.params) == (trial.state, trial.values, trial.params)
        assert row.intermediate_values == trial.intermediate_values
        assert row.distributions == trial.distributions
        assert (row.datetime_start, row.datetime_complete) == (
            trial.datetime_start,
            trial.datetime_complete,
        )
        assert "slot" not in row.user_attrs
        assert row.user_attrs["host"] == "somewhere"
        assert records[row._trial_id] == records[trial._trial_id]
    assert slots(session) == [0, 1, 2, 3, 4]
    assert session.protocol.budget == 5
    assert session.protocol.study_key != searched.protocol.study_key


def test_fork_leaves_the_old_study_as_it_was(searched: StudySession) -> None:
    before = searched.optuna_study().trials
    fork(asking(searched, LARGER), "changed")
    assert searched.optuna_study().trials == before
    assert open_session(asking(searched)).protocol == searched.protocol


def test_fork_rewrites_ranges_and_leaves_out_what_lies_outside(searched: StudySession) -> None:
    rates = sorted(
        trial.params["optimization.learning_rate"] for trial in searched.optuna_study().trials[:3]
    )
    narrower = (
        f"search.space.optimization.learning_rate={{low: {rates[1]!r}, high: 0.99, log: true}}"
    )
    session, ancestry = fork(asking(searched, narrower), "changed")
    rows = imported(session)
    kept = [row.params["optimization.learning_rate"] for row in rows]
    assert sorted(kept) == [rate for rate in rates if rates[1] <= rate <= 0.99]
    assert 0 < ancestry.taken_over < 3
    assert ancestry.taken_over + ancestry.left_out == 3
    ranges = {str(row.distributions["optimization.learning_rate"]) for row in rows}
    assert ranges == {f"FloatDistribution(high=0.99, log=True, low={rates[1]!r}, step=None)"}
    assert "outside the new space" in ancestry.lines()[-1]


def test_fork_into_a_larger_space_completes_points_with_what_was_configured(
    tiny_settings: Settings,
) -> None:
    old = configured(tiny_settings, {"search.space": "lr-wd", "network.dropout": 0.25})
    session = initialise(old)
    pretend_to_search(session, [[0.1, 0.2, 0.3]])
    larger, ancestry = fork(asking(session, "search.space=joint"), "larger")
    assert ancestry.taken_over == 1
    (row,) = imported(larger)
    assert (row.params["network.dropout"], row.params["network.blocks.3"]) == (0.25, 2)
    smaller, ancestry = fork(asking(larger, "search.space=lr-wd", name="larger"), "smaller")
    assert ancestry.taken_over == 1
    (again,) = imported(smaller)
    assert again.params.keys() == {"optimization.learning_rate", "optimization.weight_decay"}
    other = ("search.space=lr-wd", "network.dropout=0.3")
    _, ancestry = fork(asking(larger, *other, name="larger"), "elsewhere")
    assert (ancestry.taken_over, ancestry.left_out) == (0, 1)


def test_fork_of_a_fork_names_the_study_that_ran_the_trial(searched: StudySession) -> None:
    fork(asking(searched), "second")
    third, ancestry = fork(asking(searched, name="second"), "third")
    assert ancestry.study == "second"
    origins = [row.user_attrs[IMPORTED_FROM] for row in imported(third)]
    assert origins == [{"study": "tiny", "trial": number} for number in (0, 1, 2)]


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("data.image_size=12", "data.image_size differ"),
        ("seed=7", "seed differ"),
        ("search.n_epochs=4", "search.n_epochs differ"),
        ("optimization.batch_size=8", "optimization.batch_size differ"),
        ("workers.threads=2", "workers.threads differ"),
        ("search.patience_epochs=1", "search.patience_epochs differ"),
    ],
)
def test_fork_takes_nothing_over_from_other_experiments_and_says_why(
    searched: StudySession, assignment: str, reason: str
) -> None:
    session, ancestry = fork(asking(searched, assignment, LARGER), "changed")
    assert imported(session) == []
    assert ancestry.why_nothing is not None and reason in ancestry.why_nothing
    assert "none of 3 finished trials are imported" in ancestry.lines()[-1]
    assert any(line.strip().startswith(assignment.split("=")[0]) for line in ancestry.lines())


def test_fork_on_other_data_takes_nothing_over(searched: StudySession, pictures: Path) -> None:
    fewer = pictures.with_name("fewer")
    shutil.copytree(pictures, fewer)
    (fewer / "dots" / "0.png").unlink()
    session, ancestry = fork(asking(searched, **{"data.source": str(fewer)}), "changed")
    assert imported(session) == []
    assert ancestry.why_nothing is not None and "the data differ" in ancestry.why_nothing
    same = pictures.with_name("same")
    shutil.copytree(pictures, same)
    _, ancestry = fork(asking(searched, **{"data.source": str(same)}), "moved")
    assert ancestry.taken_over == 3


def test_sampler_and_pruner_of_a_fork_learn_from_the_old_trials(searched: StudySession) -> None:
    changes = ("search.pruner=median", "search.pruner_startup_trials=2")
    more = ("search.pruner_warmup_epochs=1", "search.space.network.dropout.high=0.6")
    session, ancestry = fork(asking(searched, *changes, *more), "changed")
    assert ancestry.taken_over == 3
    study = session.optuna_study()
    waiting = study.get_trials(states=(TrialState.WAITING,))[0]
    sampler = build_sampler(session.config.search, seed=1, number=waiting.number)
    space = sampler.infer_relative_search_space(study, waiting)
    names = {"optimization.learning_rate", "optimization.weight_decay", "network.dropout"}
    names |= {f"network.blocks.{stage}" for stage in (1, 2, 3)}
    assert space.keys() == names
    assert space == imported(session)[0].distributions
    worker = Worker(session, prepare(session.config.data), stop=StopFlag(), announce=print)
    pruner = worker._optuna_study.pruner
    for score, expected in ((0.05, True), (0.99, False)):
        waiting.intermediate_values = {1: score}
        assert bool(pruner.prune(study, waiting)) is expected


def test_halving_finds_the_rungs_that_old_trials_would_have_reached(
    searched: StudySession,
) -> None:
    changes = ("search.pruner=halving", "search.pruner_warmup_epochs=1")
    session, _ = fork(asking(searched, *changes), "changed")
    rungs = [row.system_attrs for row in imported(session)]
    assert rungs == [
        {"completed_rung_0": 0.2, "completed_rung_1": 0.5},
        {"completed_rung_0": 0.3, "completed_rung_1": 0.6},
        {"completed_rung_0": 0.1, "completed_rung_1": 0.2},
    ]
    other, _ = fork(asking(searched), "other")
    assert all(row.system_attrs == {} for row in imported(other))


def test_fork_that_took_trials_over_draws_other_points(searched: StudySession) -> None:
    learnt, _ = fork(asking(searched), "learnt")
    other, _ = fork(asking(searched, "search.n_epochs=2"), "other")
    assert learnt.sampling_seed != searched.sampling_seed == 42
    assert other.sampling_seed == 42


def test_budget_of_a_fork_counts_the_slots_to_run(searched: StudySession) -> None:
    session, _ = fork(asking(searched, **{"search.budget.trials": 2}), "changed")
    handle = session.storage_handle
    status = read_status(handle, "changed")
    assert (status.budget, status.waiting, status.done, status.taken_over) == (2, 2, 0, 3)
    assert status.seconds_spent == 0
    assert status.best is not None and status.best.value == 0.9
    assert status_line(status) == "0/2 done, 3 imported, 0 running, best 0.900 (trial 1)"
    pretend_to_search(session, [[0.1, 0.2, 0.3], []])
    assert status_line(read_status(handle, "changed")).startswith(
        "2/2 done (1 complete, 1 failed), 3 imported"
    )
    session = extend(session, [SAMPLED])
    assert slots(session) == [0, 1, 2]
    again, _ = fork(asking(searched), "changed")
    assert again.protocol == session.protocol


def test_worker_runs_a_fork_and_a_trial_that_was_imported_may_win(
    searched: StudySession,
) -> None:
    session, _ = fork(asking(searched, LARGER, **{"search.budget.trials": 1}), "changed")
    with pytest.raises(StudyError, match="1 of 1 trials are not"):
        choose_winner(session)
    said: list[int] = []
    prepared = session.prepare_data()
    announce = Worker(
        session, prepared, stop=StopFlag(), announce=lambda number, result: said.append(number)
    )
    announce.work()
    rows = read_trials(session.storage_handle, "changed")
    (ran,) = [row for row in rows if not row.is_imported]
    assert said == [ran.number] * 3
    assert ran.slot == 0
    assert session.trial_paths(0).best.is_file()
    ranges = {str(trial.distributions) for trial in session.optuna_study().trials}
    assert len(ranges) == 1 and "high=0.6" in ranges.pop()


def test_final_run_of_a_fork_trains_the_winner_that_was_imported(
    searched: StudySession,
) -> None:
    session, _ = fork(asking(searched, **{"search.budget.trials": 1}), "changed")
    pretend_to_search(session, [[0.1, 0.2, 0.3]])
    winner = choose_winner(session)
    assert winner.is_imported and winner.value == 0.9
    final = open_final(session, winner, reopen=None)
    (waiting,) = final.optuna_study().trials
    assert waiting.system_attrs["fixed_params"] == searched.optuna_study().trials[1].params


class Killed(BaseException):
    """Ends a process as SIGKILL would."""


class KillBeforeCommit:
    """Ends a process before the commit of its n-th transaction that writes."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._writing = False

    def _execute(self, _c: object, _cursor: object, statement: str, *_: object) -> None:
        self._writing |= statement.startswith(("INSERT", "UPDATE", "DELETE"))

    def _commit(self, connection: sqlalchemy.Connection) -> None:
        wrote, self._writing = self._writing, False
        self._n -= wrote
        if wrote and self._n == 0:
            connection.connection.dbapi_connection.rollback()  # type: ignore[union-attr]
            raise Killed

    def __enter__(self) -> None:
        sqlalchemy.event.listen(sqlalchemy.Engine, "after_cursor_execute", self._execute)
        sqlalchemy.event.listen(sqlalchemy.Engine, "commit", self._commit)

    def __exit__(self, *_error: object) -> None:
        sqlalchemy.event.remove(sqlalchemy.Engine, "after_cursor_execute", self._execute)
        sqlalchemy.event.remove(sqlalchemy.Engine, "commit", self._commit)


@pytest.mark.slow
def test_fork_killed_before_any_of_its_commits_is_finished_by_the_same_command(
    searched: StudySession,
) -> None:
    request = asking(searched, LARGER, **{"search.budget.trials": 2})
    for n_commits in range(1, 30):
        with KillBeforeCommit(n_commits):
            try:
                session, ancestry = fork(request, "changed")
            except Killed:
                assert read_status(searched.storage_handle, "tiny").done == 4
            else:
                break
    # A study, three trials and their epochs, two slots, the protocol: before each, and after.
    assert n_commits > 8
    assert_whole(session, ancestry, searched)


def test_what_a_killed_fork_has_left_is_gone_from_a_plain_study_of_its_name(
    searched: StudySession, tiny_settings: Settings
) -> None:
    with KillBeforeCommit(8), pytest.raises(Killed):
        fork(asking(searched, LARGER, **{"search.budget.trials": 2}), "changed")
    session = initialise(configured(tiny_settings, {"name": "changed"}))
    trials = session.optuna_study().trials
    assert [trial.user_attrs for trial in trials] == [{"slot": slot} for slot in range(3)]
    database = session.storage_handle.database
    assert read_epochs(database, [trial._trial_id for trial in trials]) == {}


def assert_whole(session: StudySession, ancestry: Ancestry, searched: StudySession) -> None:
    """Check that a fork is what an uninterrupted one would be, and nothing else is left."""
    old = searched.optuna_study().trials
    rows = imported(session)
    assert [row.user_attrs[IMPORTED_FROM]["trial"] for row in rows] == [0, 1, 2]
    assert ancestry.taken_over == 3
    assert slots(session) == [0, 1]
    with session.storage_handle.engine.begin() as connection:
        orphans = "SELECT count(*) FROM epochs WHERE trial_id NOT IN (SELECT trial_id FROM trials)"
        assert connection.exec_driver_sql(orphans).scalar() == 0
        n_copied = sum(len(row.intermediate_values) for row in rows)
        every = connection.exec_driver_sql("SELECT count(*) FROM epochs").scalar()
        assert every == sum(len(trial.intermediate_values) for trial in old) + n_copied


def test_fork_given_again_leaves_the_new_study_as_it_is(searched: StudySession) -> None:
    first, ancestry = fork(asking(searched, LARGER), "changed")
    pretend_to_search(searched, [[0.1, 0.2, 0.95]])
    trials = first.optuna_study().trials
    again, same = fork(asking(searched, LARGER), "changed")
    assert same == ancestry
    assert again.protocol == first.protocol
    assert again.optuna_study().trials == trials


def test_fork_needs_no_name_where_there_is_one_study_to_fork(searched: StudySession) -> None:
    for _ in range(2):
        session, _ = fork(asking(searched, LARGER, name=None), "changed")
        assert session.protocol.study_name == "changed"


def test_fork_from_a_file_means_the_file(searched: StudySession, config_file: str) -> None:
    request = Request(file=Path(config_file), options={"name": "tiny"})
    session, ancestry = fork(request, "changed")
    assert [one["key"] for one in ancestry.changes] == ["search.budget"]
    assert session.protocol.budget == 3
    assert ancestry.taken_over == 3


def test_fork_rejects_names_that_do_not_suit(searched: StudySession) -> None:
    with pytest.raises(StudyError, match="NEW another name, got 'tiny' and 'tiny'"):
        fork(asking(searched), "tiny")
    with pytest.raises(StudyError, match="NEW another name, got 'tiny' and 'tiny'"):
        fork(asking(searched, name=None), "tiny")
    with pytest.raises(ConfigurationError, match="must not end in -confirm or -final"):
        fork(asking(searched), "tiny-final")
    with pytest.raises(StudyError, match="must be a searched study"):
        fork(asking(searched, name="tiny-final"), "changed")
    with pytest.raises(ConfigurationError, match="name must be letters, digits"):
        fork(asking(searched), "a/b")
    with pytest.raises(StudyNotFoundError, match=r"got 'none' \(there: tiny\)"):
        fork(asking(searched, name="none"), "changed")


def test_fork_rejects_a_new_study_that_is_another_one(
    searched: StudySession, tiny_settings: Settings
) -> None:
    fork(asking(searched, LARGER), "changed")
    with pytest.raises(ProtocolError, match=r"has other settings.*dropout\.high is 0\.6 there"):
        fork(asking(searched), "changed")
    initialise(configured(tiny_settings, {"name": "plain", "search.budget.trials": 5}))
    with pytest.raises(ProtocolError, match="NEW must be free or a fork of 'tiny'"):
        fork(asking(searched), "plain")


def test_strict_fork_takes_nothing_over_from_another_code_version(
    searched: StudySession, caplog: pytest.LogCaptureFixture
) -> None:
    with searched.storage_handle.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE protocols SET facts = json_set(facts, '$.git_revision', 'older', "
            "'$.source_digest', 'other')"
        )
    _, ancestry = fork(asking(searched), "changed")
    assert ancestry.taken_over == 3
    (record,) = caplog.records
    assert "git_revision is 'older' there" in record.getMessage()
    _, ancestry = fork(asking(searched, "protocol.strict=true"), "strict")
    assert ancestry.taken_over == 0
    assert ancestry.why_nothing is not None and "protocol.strict" in ancestry.why_nothing


def test_fork_command_says_what_changed_and_what_became_of_the_trials(
    call: Call, searched: StudySession, config_file: str
) -> None:
    place = searched.config.storage
    there = ["--storage", place.url, "--runs", str(place.runs), "--name", "tiny"]
    ended = call("fork", "changed", *there, "--set", "search.space.network.dropout.high=0.6")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].startswith("study changed: a budget of 5 trials, database")
    assert lines[1].startswith("data: 3 classes; train ")
    told = lines[lines.index("forked from tiny, changed:") + 1 :]
    assert told[0] == "  search.space.network.dropout.high: 0.5 -> 0.6"
    assert told[1] == "3 of 3 finished trials are imported"
    assert told[2].startswith("next: study run --name changed --storage sqlite:///")
    listed = call("trials", *there[:4], "--name", "changed")
    assert "* imported from another study" in listed.out
    assert call("fork", *there).err.strip() == "study: Missing argument 'NEW'."


@pytest.mark.slow
def test_fork_killed_at_any_moment_is_finished_by_the_same_command(
    searched: StudySession, tmp_path: Path
) -> None:
    place = searched.config.storage
    there = ["--name", "tiny", "--storage", place.url, "--runs", str(place.runs)]
    given = ["--set", LARGER, "--trials", "2"]

    def start(new: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "study", "fork", new, *there, *given],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )

    begin = time.monotonic()
    assert start("straight").wait() == 0
    seconds = time.monotonic() - begin
    killed = 0
    for part in range(10):
        running = start("changed")
        time.sleep(seconds * (0.2 + 0.07 * part))
        running.kill()
        killed += running.wait() != 0
    assert killed > 3
    with searched.storage_handle.engine.begin() as connection:  # what the straight one has
        connection.exec_driver_sql(
            "DELETE FROM epochs WHERE trial_id IN (SELECT trial_id FROM trials JOIN studies "
            "USING (study_id) WHERE study_name = 'straight')"
        )
    session, ancestry = fork(asking(searched, LARGER, **{"search.budget.trials": 2}), "changed")
    assert_whole(session, ancestry, searched)
