"""Studies that Optuna's own tools, or the dashboard, have deleted: one line, and a way on."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from data.image_cache import prepare
from storage.errors import StudyDeletedError
from storage.records import study_names
from storage.study_deletion import delete_whole_study
from storage.study_storage import StudyStorage
from study.creation.create import initialise
from study.errors import StudyError
from study.final.final_run import open_final
from study.session.session import StudySession
from study.session.winner import choose_winner
from study.stop_signal import StopFlag
from study.workers.worker import Worker
from tests.study.conftest import Call, Ended
from tests.study.searches import configured, pretend_to_search

Settings = dict[str, Any]
OPTUNA = str(Path(sys.executable).with_name("optuna"))
COMMANDS = [
    ["init", "CONFIG"],
    ["run", "CONFIG"],
    ["run"],
    ["worker"],
    ["status"],
    ["trials"],
    ["best"],
    ["extend", "--trials", "1"],
    ["enqueue", "dropout=0.1"],
    ["fork", "new"],
    ["final"],
    ["report"],
    ["metrics", "--once"],
    ["slurm-script"],
    ["tensorboard"],
]


@pytest.fixture
def session(tiny_settings: Settings) -> StudySession:
    """A searched study with a queued final run."""
    session = initialise(
        configured(tiny_settings, {"search.budget.trials": 2, "search.n_epochs": 1})
    )
    pretend_to_search(session, [[0.3], [0.4]])
    open_final(session, choose_winner(session), reopen=None)
    return session


@pytest.fixture
def place(session: StudySession, tiny_settings: Settings, config_file: str) -> list[str]:
    where = session.config.storage
    return ["--storage", where.url, "--runs", str(where.runs), "--name", "tiny"]


def delete(session: StudySession, name: str = "tiny") -> None:
    """Delete a study with Optuna's own command."""
    place = ["--storage", session.config.storage.url, "--study-name", name]
    subprocess.run([OPTUNA, "delete-study", *place], check=True, capture_output=True)


def follow(call: Call, ended: Ended) -> Ended:
    """Execute the command that a line names between backquotes."""
    words = shlex.split(re.findall(r"`([^`]+)`", ended.err)[0])
    if words[0] == "study":
        return call(*words[1:])
    moved = subprocess.run(words, check=True, capture_output=True, text=True)
    return Ended(moved.returncode, moved.stdout, moved.stderr)


def test_every_command_says_in_one_line_that_the_study_was_deleted_and_the_way_on_leads_on(
    session: StudySession, place: list[str], config_file: str, call: Call
) -> None:
    delete(session)
    for command in COMMANDS:
        given = ["--config", config_file] if "CONFIG" in command else []
        arguments = [*(word for word in command if word != "CONFIG"), *given, *place]
        ended = call(*arguments)
        if command[0] == "metrics":
            continue  # goes on without the study
        assert (ended.code, ended.err.count("\n")) == (2, 1), (command, ended)
        assert "'tiny' was deleted with Optuna's own tools" in ended.err, command
    told = call("doctor", *place[:4]).out
    assert "run folder are left: left alone; `study doctor --name tiny --repair --storage" in told
    mended = follow(call, ended)
    assert mended.code == 0, mended.err
    assert "run folder are left: set aside" in mended.out
    assert study_names(session.storage_handle.database) == []
    assert (session.config.storage.runs / "tiny-old" / ".study-key").is_file()
    new = ["--config", config_file, *place, "--trials", "1", "--set", "search.n_epochs=1"]
    assert call("init", *new).code == 0
    assert call("doctor", *place).code == 0
    # The final run of the deleted study is not that of the new one.
    assert "tiny-final" not in optuna.get_all_study_names(session.config.storage.url)


def test_final_runs_deleted_alone_may_begin_anew(
    session: StudySession, place: list[str], call: Call
) -> None:
    session.paths.final(0).folder.mkdir()
    delete(session, "tiny-final")
    ended = call("final", *place)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "study 'tiny-final' was deleted with Optuna's own tools" in ended.err
    assert follow(call, ended).code == 0
    assert len(session.optuna_study().get_trials()) == 2
    session.paths.final(0).metrics.write_text("{}")  # the test split was opened all the same
    with pytest.raises(StudyError, match="must be opened once"):
        open_final(session, choose_winner(session), reopen=None)
    session.paths.final(0).metrics.unlink()
    final = open_final(session, choose_winner(session), reopen=None)
    assert len(final.optuna_study().get_trials()) == 1


def test_worker_whose_study_is_deleted_says_so(tiny_settings: Settings) -> None:
    session = initialise(configured(tiny_settings, {"search.n_epochs": 2}))
    deleted = StudyStorage.delete_study

    def delete_it(_number: int, _result: object) -> None:
        deleted(session.storage_handle, session.optuna_study()._study_id)

    worker = Worker(session, prepare(session.config.data), stop=StopFlag(), announce=delete_it)
    with pytest.raises(StudyDeletedError, match="'tiny' was deleted with Optuna's own tools"):
        worker.work()


def test_name_of_a_study_deleted_in_the_dashboard_is_free_after_the_printed_command(
    session: StudySession, place: list[str], config_file: str, call: Call
) -> None:
    handle = session.storage_handle
    deleted = delete_whole_study(handle, session.optuna_study()._study_id, grace=600)
    assert len(deleted) == 2 and handle.get_all_studies() == []  # with its final runs
    assert study_names(handle.database) == []
    again = ["init", "--config", config_file, *place]
    for n_moved in (1, 2):  # also where a folder was moved before
        ended = call(*again)
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert "--runs must hold no other study 'tiny'" in ended.err
        assert follow(call, ended).code == 0
        assert call(*again).code == 0
        study_id = handle.get_study_id_from_name("tiny")
        delete_whole_study(handle, study_id, grace=600)
        assert len(list(session.config.storage.runs.glob("tiny-old*"))) == n_moved


def test_copy_of_a_study_is_not_taken_for_a_cut_off_init(
    session: StudySession, call: Call
) -> None:
    url = session.config.storage.url
    optuna.copy_study(
        from_study_name="tiny", from_storage=url, to_storage=url, to_study_name="backup"
    )
    where = ["--storage", url, "--runs", str(session.config.storage.runs)]
    ended = call("init", "--name", "backup", *where)
    assert ended.code == 2 and "another program's study 'backup', or a copy" in ended.err
    assert len(optuna.load_study(study_name="backup", storage=url).trials) == 2
