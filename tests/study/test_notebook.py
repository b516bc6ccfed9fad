"""The Python interface beside what the command line exports, on a small study."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import study
from storage.errors import StudyNotFoundError
from study import Study
from study.configuration.config import Request
from study.errors import StudyError
from study.session.session import open_session
from tests.study.conftest import Call
from tests.study.searches import pretend_to_search

CURVES = ([0.2, 0.5, 0.4], [0.3, 0.6, 0.9], [0.1, 0.2], [])


@pytest.fixture
def begun(call: Call, config_file: str) -> Path:
    """The folder of a study of four trials that wait, and of its database."""
    assert call("init", "--config", config_file, "--trials", "5").code == 0
    return Path(config_file).parent


@pytest.fixture
def searched(begun: Path, config_file: str) -> Path:
    """The same with two complete, a pruned and a failed trial; the last one waits."""
    session = open_session(Request(file=Path(config_file)))
    pretend_to_search(session, CURVES)
    session.location.close()
    return begun


@pytest.fixture
def opened(searched: Path) -> Iterator[Study]:
    with Study.open(storage=f"sqlite:///{searched}/study.db", runs=searched / "runs") as found:
        yield found


def test_frames_are_the_exported_tables(opened: Study, call: Call, tmp_path: Path) -> None:
    place = ["--storage", f"sqlite:///{tmp_path}/study.db"]
    assert call("export-trials", *place, "--to", str(tmp_path / "out.parquet")).code == 0
    assert_frame_equal(opened.trials(), pd.read_parquet(tmp_path / "out.parquet"))
    assert_frame_equal(opened.epochs(), pd.read_parquet(tmp_path / "out.epochs.parquet"))
    states = ["complete", "complete", "pruned", "failed", "waiting"]
    assert opened.trials()["state"].tolist() == states


def test_curves_have_a_column_for_each_trial_with_epochs(opened: Study) -> None:
    curves = opened.curves()
    assert curves.index.tolist() == [1, 2, 3] and curves.columns.tolist() == [0, 1, 2]
    assert [curves[n].dropna().tolist() for n in range(3)] == list(CURVES[:3])
    assert opened.curves("train_loss").shape == (3, 3)
    with pytest.raises(StudyError, match="got 'score': choose train_loss, .*images_per_second$"):
        opened.curves("score")


def test_best_is_the_row_of_the_best_complete_trial(opened: Study) -> None:
    best, trials = opened.best, opened.trials()
    assert (best["number"], best["value"], best["best_epoch"]) == (1, 0.9, 3)
    same = trials.loc[trials["number"] == 1].iloc[0]
    assert {k: v for k, v in best.items() if not pd.isna(v)} == {
        k: v for k, v in same.items() if not pd.isna(v)
    }


def test_each_call_reads_anew(begun: Path, config_file: str) -> None:
    with Study.open("tiny", storage=f"sqlite:///{begun}/study.db") as found:
        assert len(found.epochs()) == 0 and found.curves().shape == (0, 0)
        with pytest.raises(StudyError, match="must have a complete trial"):
            _ = found.best
        session = open_session(Request(file=Path(config_file)))
        pretend_to_search(session, CURVES)
        session.location.close()
        assert len(found.epochs()) == 8
        assert found.best["number"] == 1


def test_study_is_found_as_the_command_line_finds_it(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", f"sqlite:///{searched}/study.db")
    with Study.open() as found:
        assert repr(found) == "Study('tiny')"
    with pytest.raises(StudyNotFoundError, match="got 'cats' .there: tiny"):
        Study.open("cats")
    monkeypatch.delenv("STUDY_STORAGE")
    monkeypatch.chdir(searched)
    with pytest.raises(StudyNotFoundError, match="storage.url must name a database"):
        Study.open()


def test_opened_study_cannot_be_written(opened: Study) -> None:
    database = opened._session.storage_handle
    with pytest.raises(Exception, match="readonly"):
        database.set_study_user_attr(1, "note", "changed")


def test_study_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys, study\n"
        "assert not {'torch', 'pandas', 'optuna', 'study.notebook'} & set(sys.modules)\n"
        "from study import Study\n"
        "assert Study is study.Study and 'study.notebook' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'Studies'"):
        study.Studies  # noqa: B018
