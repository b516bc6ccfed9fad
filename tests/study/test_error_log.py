"""An unexpected error leaves its traceback where the study is, and one line that says where."""

from pathlib import Path

import pytest

from study import error_log
from study.configuration.config import Request, validated
from study.creation.create import initialise
from study.error_log import log_errors_in, log_traceback
from study.session.session import open_session
from tests.study.conftest import Call
from tests.tools.unprivileged import unprivileged


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a process that has named none yet."""
    monkeypatch.setattr(error_log, "_folders", [])
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def fail_and_log() -> str:
    try:
        raise RuntimeError("a defect")
    except RuntimeError:
        return log_traceback()


def test_traceback_goes_to_the_folder_of_the_study(
    tiny_settings: dict[str, object], here: Path, tmp_path: Path
) -> None:
    session = initialise(validated(tiny_settings))
    log = session.paths.folder / "study-error.log"
    assert fail_and_log() == f"traceback in {log}"
    error_log._folders.clear()
    place = session.config.storage
    open_session(Request(options={"storage.url": place.url, "storage.runs": place.runs}))
    fail_and_log()
    assert log.read_text().count("RuntimeError: a defect") == 2
    assert list(here.iterdir()) == []


def test_traceback_goes_to_the_runs_folder_until_the_study_is_known(
    here: Path, tmp_path: Path
) -> None:
    log_errors_in(tmp_path)
    log_errors_in(tmp_path / "not yet")
    assert fail_and_log() == f"traceback in {tmp_path / 'study-error.log'}"
    assert list(here.iterdir()) == []


def test_traceback_goes_to_the_current_folder_where_there_is_no_other(
    here: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    def app(**_options: object) -> None:
        log_errors_in(Path("runs"))
        raise RuntimeError("a defect")

    monkeypatch.setattr("study.cli.app", app)
    ended = call("status")
    assert ended.code == 1
    log = here / "study-error.log"
    assert ended.err == f"study: RuntimeError: a defect (traceback in {log})\n"
    assert "RuntimeError: a defect" in log.read_text()


def test_traceback_is_said_where_its_file_cannot_be_written(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here.chmod(0o500)
    assert unprivileged(fail_and_log) == "traceback above"
    said = capsys.readouterr().err
    assert "RuntimeError: a defect" in said and "PermissionError" not in said
    assert list(here.iterdir()) == []


def test_traceback_is_said_where_the_current_folder_is_gone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here.rmdir()
    assert fail_and_log() == "traceback above"
    assert "FileNotFoundError" not in capsys.readouterr().err
