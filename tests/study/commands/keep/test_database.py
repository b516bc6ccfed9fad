"""Studies listed and deleted by the command line."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.errors import AccessDeniedError
from storage.leases import acquire_waiting
from storage.process_identity import Owner
from storage.records import (
    study_names,
)
from storage.test_evaluations import (
    TestEvaluation,
    claim_tests,
    read_tests,
)
from study.configuration.config import validated
from study.creation.create import initialise
from study.session import deletion
from study.session.session import StudySession
from tests.dashboards.confirmations import BETTER, add_confirmation
from tests.study.conftest import Call
from tests.study.searches import configured, pretend_to_search
from tests.tools.unprivileged import unprivileged
from tests.tools.users import requires_root

Settings = dict[str, object]


@pytest.fixture
def session(tiny_settings: Settings) -> StudySession:
    made = initialise(validated(tiny_settings))
    pretend_to_search(made)
    (made.paths.folder / "trials" / "00000").mkdir(parents=True)
    (made.paths.folder / "trials" / "00000" / "best.pt").write_bytes(b"w" * 1500)
    return made


@pytest.fixture
def other(tiny_settings: Settings) -> StudySession:
    return initialise(configured(tiny_settings, {"name": "other"}))


@pytest.fixture
def place(session: StudySession) -> list[str]:
    where = session.config.storage
    return ["--storage", where.url, "--runs", str(where.runs)]


def names(session: StudySession) -> list[str]:
    return study_names(session.storage_handle.database)


def below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_symlink()}


def test_studies_are_listed_with_state_best_value_and_size(
    session: StudySession, other: StudySession, place: list[str], call: Call
) -> None:
    found = json.loads(call("list", "--json", *place).out)
    assert [one["study_name"] for one in found] == ["tiny", "other"]
    assert [one["state"] for one in found] == ["done", "not begun"]
    assert (found[0]["done"], found[0]["budget"]) == (3, 3)
    assert (found[0]["best_value"], found[0]["best_trial"]) == (0.9, 1)
    assert found[0]["size_bytes"] == sum(
        path.lstat().st_size for path in below(session.paths.folder) if path.is_file()
    )
    shown = call("list", *place, "--name", "tiny").out
    assert "0.9000" in shown and "trial 1" in shown and "3/3" in shown and "other" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert call("list", *place, "--name", "cats").code == 2


def test_state_of_a_listed_study_follows_its_trials(
    session: StudySession, other: StudySession, place: list[str], call: Call
) -> None:
    def state(name: str) -> str:
        return json.loads(call("list", "--json", *place, "--name", name).out)[0]["state"]

    pretend_to_search(other, [[0.1]])
    assert state("other") == "stopped"
    database = other.storage_handle.database
    study_id = other.optuna_study()._study_id
    assert acquire_waiting(database, study_id, Owner.current(), last=set()) is not None
    assert state("other") == "running"
    other.storage_handle.delete_study(study_id)
    assert state("other") == "deleted"


def test_confirmed_score_is_listed_beside_that_of_the_search(
    session: StudySession, other: StudySession, place: list[str], call: Call
) -> None:
    assert "firmed" not in call("list", *place).out
    add_confirmation(session.storage_handle, BETTER, study_name="tiny")
    listed = json.loads(call("list", "--json", *place).out)
    assert [one["study_name"] for one in listed] == ["tiny", "other"]
    assert [one["is_better"] for one in listed] == [True, None]
    assert listed[0]["confirmed_score"] == pytest.approx(0.55)
    shown = call("list", *place).out
    (line,) = [line for line in shown.splitlines() if line.startswith("tiny")]
    assert "0.9000 trial 1 0.5500" in " ".join(line.split())
    assert max(map(len, shown.splitlines())) <= 80


def test_empty_database_lists_nothing(session: StudySession, place: list[str], call: Call) -> None:
    assert call("delete", *place, "--name", "tiny", "--yes").code == 0
    assert json.loads(call("list", "--json", *place).out) == []
    assert "no study yet" in call("list", *place).out


def test_deletion_says_what_goes_and_leaves_every_other_study(
    session: StudySession, other: StudySession, place: list[str], call: Call
) -> None:
    initialise(session.config, location=session.location, name="tiny-final", points=[])
    claim = TestEvaluation(1, "tiny", 1, "the first", "0" * 64)
    claim_tests(session.storage_handle.database, [claim])
    before = below(other.paths.folder)
    ended = call("delete", *place, "--name", "tiny", "--yes")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].endswith(": 3 trials and final runs with 8 epochs")
    assert lines[1] == f"folder {session.paths.folder}"
    assert lines[2].endswith(" kB") and lines[2][0].isdigit()
    assert lines[3:] == ["the record that its test split was opened stays", "deleted"]
    assert names(other) == ["other"] and below(other.paths.folder) == before
    assert not session.paths.folder.exists()
    assert sorted(path.name for path in session.paths.runs.iterdir()) == [".study-runs", "other"]
    assert len(read_tests(other.storage_handle.database, "tiny")) == 1


@requires_root
@pytest.mark.parametrize("closed", [".", "trials/00000"])
def test_folder_that_this_user_cannot_remove_keeps_its_rows(
    session: StudySession, place: list[str], closed: str
) -> None:
    folder = session.paths.folder / closed
    folder.chmod(0o555)
    before = below(session.paths.folder)
    with pytest.raises(AccessDeniedError, match="nothing is deleted") as rejected:
        unprivileged(lambda: deletion.plan_deletion(session.location, "tiny"))
    assert f"{folder} is not" in str(rejected.value) and "belongs to user" in str(rejected.value)
    assert names(session) == ["tiny"] and below(session.paths.folder) == before


@pytest.mark.parametrize("only", ["rows", "folder"])
def test_rows_or_folder_are_deleted_alone(
    session: StudySession, place: list[str], call: Call, only: str
) -> None:
    assert call("delete", *place, "--name", "tiny", "--only", only, "--yes").code == 0
    assert names(session) == ([] if only == "rows" else ["tiny"])
    assert session.paths.folder.exists() == (only == "rows")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "--name must say which study is deleted"),
        (["--name", "tiny"], "--yes must be given where nobody can be asked"),
        (["--name", "tiny-final", "--yes"], "are runs of 'tiny' that follow"),
        (["--name", "cats", "--yes"], "got 'cats' (there: tiny)"),
        (["--name", "tiny", "--only", "all"], "'all' is not one of"),
    ],
)
def test_deletion_that_is_not_clear_changes_nothing(
    session: StudySession, place: list[str], call: Call, arguments: list[str], hint: str
) -> None:
    before = below(session.paths.folder)
    ended = call("delete", *place, *arguments)
    assert (ended.code, ended.err.count("\n")) == (2, 1) and hint in ended.err
    assert names(session) == ["tiny"] and below(session.paths.folder) == before


def test_study_at_work_is_not_deleted(
    other: StudySession, session: StudySession, place: list[str], call: Call
) -> None:
    database, study_id = other.storage_handle.database, other.optuna_study()._study_id
    acquire_waiting(database, study_id, Owner.current(), last=set())
    for only in ([], ["--only", "folder"], ["--only", "rows"]):
        ended = call("delete", *place, "--name", "other", "--yes", *only)
        assert ended.code == 2 and "must be at rest to be deleted" in ended.err
        assert f", process {os.getpid()} on {socket.gethostname()} trains one" in ended.err
    assert sorted(names(other)) == ["other", "tiny"]
    assert other.paths.key() == other.protocol.study_key


def test_worker_that_begins_in_the_last_moment_keeps_its_study_and_folder(
    other: StudySession,
    session: StudySession,
    place: list[str],
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give_up = deletion.give_up

    def claim_then_give_up(*how: object) -> Path:
        study_id = other.optuna_study()._study_id
        acquire_waiting(other.storage_handle.database, study_id, Owner.current(), last=set())
        return give_up(*how)  # type: ignore[arg-type]

    monkeypatch.setattr(deletion, "give_up", claim_then_give_up)
    ended = call("delete", *place, "--name", "other", "--yes")
    assert ended.code == 2 and "must be at rest" in ended.err
    assert sorted(names(other)) == ["other", "tiny"]
    assert other.paths.key() == other.protocol.study_key


@pytest.mark.parametrize("point", ["delete_named_study", "remove_given_up"])
def test_deletion_that_was_cut_off_is_finished_by_the_same_command(
    session: StudySession,
    other: StudySession,
    place: list[str],
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    with monkeypatch.context() as cut:
        cut.setattr(deletion, point, _interrupt)
        assert call("delete", *place, "--name", "tiny", "--yes").code == 130
    assert not session.paths.folder.exists()
    left = next(session.paths.runs.glob(".tiny.*.deleted"))
    (left / ".study-key").unlink()  # as when the removal itself was cut off
    ended = call("delete", *place, "--name", "tiny", "--yes")
    assert (ended.code, ended.err) == (0, "") and f"folder {left}" in ended.out
    assert names(other) == ["other"] and not left.exists()
    assert call("delete", *place, "--name", "tiny", "--yes").code == 2


def _interrupt(*_arguments: object, **_options: object) -> None:
    raise KeyboardInterrupt


def of_another_database(session: StudySession) -> str:
    (session.paths.folder / ".study-key").write_text("another")
    return "is not the run folder of this study: it stays"


def linked(session: StudySession) -> str:
    moved = session.paths.folder.with_name("moved")
    session.paths.folder.rename(moved)
    session.paths.folder.symlink_to(moved)
    return "is not the run folder of this study: it stays"


@pytest.mark.parametrize("spoil", [of_another_database, linked])
def test_folder_that_is_not_the_studys_own_stays(
    session: StudySession, place: list[str], call: Call, spoil: Callable[[StudySession], str]
) -> None:
    hint = spoil(session)
    weights = session.paths.folder / "trials" / "00000" / "best.pt"
    rejected = call("delete", *place, "--name", "tiny", "--only", "folder", "--yes")
    assert rejected.code == 2 and "--only folder must name" in rejected.err
    ended = call("delete", *place, "--name", "tiny", "--yes")
    assert ended.code == 0 and hint in ended.out
    assert names(session) == [] and weights.is_file()


def test_folder_of_other_runs_is_named(
    session: StudySession, place: list[str], call: Call, tmp_path: Path
) -> None:
    ended = call(
        "delete", *place[:2], "--runs", str(tmp_path / "empty"), "--name", "tiny", "--yes"
    )
    assert ended.code == 2 and f"add `--runs {session.paths.runs}`" in ended.err
    assert names(session) == ["tiny"]


def test_study_without_its_optuna_rows_is_deleted_too(
    session: StudySession, place: list[str], call: Call
) -> None:
    session.storage_handle.delete_study(session.optuna_study()._study_id)
    assert call("delete", *place, "--name", "tiny", "--yes").code == 0
    assert names(session) == [] and not session.paths.folder.exists()


def test_doctor_names_the_rest_of_a_deletion(
    session: StudySession, place: list[str], call: Call
) -> None:
    left = session.paths.runs / ".gone.0f.deleted"
    left.mkdir()
    (left / ".study-key").write_text("0f")
    told = call("doctor", *place).out
    assert f"{left}: " in told and "study delete --name gone" in told
