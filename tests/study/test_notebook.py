"""The Python interface beside what the command line exports, on a small study."""

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from pandas.testing import assert_frame_equal

import study
from data.errors import DataError
from model.export import ExportedModel, load_model, save_model
from storage.checkpoints import load_checkpoint
from storage.errors import StudyNotFoundError
from study import Study
from study.configuration.config import Request, validated
from study.creation.create import initialise
from study.errors import ConfigurationError, StudyError
from study.export.kept_run import open_tested
from study.export.model_folder import build_config
from study.final.final_run import open_final, run_final
from study.session.session import open_session
from study.session.winner import choose_winner
from study.stop_signal import StopFlag
from study.trial.saved_weights import saved_weights
from study.workers.worker import Worker
from tests.study.conftest import Call
from tests.study.searches import pretend_to_search
from tests.tools.pictures import write_pictures
from tests.tools.studies import small_settings

DOCUMENT = Path(study.__file__).with_name("README.md")
CURVES = ([0.2, 0.5, 0.4], [0.3, 0.6, 0.9], [0.1, 0.2], [])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the usual location of a study that was trained, and tested once."""
    folder = tmp_path_factory.mktemp("finished")
    settings = small_settings(
        write_pictures(folder / "pictures", n_per_class=12), folder / "cache"
    )
    settings["name"] = "quickstart"
    settings["search"] |= {"budget": {"trials": 1}, "n_epochs": 1}
    settings["final"] = {"n_epochs": 1, "image_size": 12}
    settings["storage"] |= {"url": f"sqlite:///{folder}/runs/study.db", "runs": f"{folder}/runs"}
    (folder / "runs").mkdir()
    session = initialise(validated(settings))
    stop = StopFlag()
    Worker(session, session.prepare_data(), stop=stop, announce=lambda *_: None).work()
    final = open_final(session, choose_winner(session), reopen=None)
    assert run_final(final, final.prepare_data(), stop=stop, announce=lambda *_: None) is not None
    run = open_tested(final)
    save_model(run.paths.model, build_config(run), saved_weights(run.checkpoint))
    (folder / "photos").mkdir()
    for kind in ("dots", "rows"):
        shutil.copy(folder / "pictures" / kind / "3.png", folder / "photos" / f"{kind}.png")
    final.location.close()
    session.location.close()
    return folder


@pytest.fixture
def usual(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """The trained study, found at its usual location."""
    monkeypatch.chdir(finished)
    monkeypatch.delenv("STUDY_STORAGE", raising=False)
    monkeypatch.delenv("STUDY_RUNS", raising=False)
    with Study.open() as found:
        yield found


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


def test_model_is_that_of_the_final_run_as_its_folder_has_it(usual: Study, finished: Path) -> None:
    found, loaded = usual.model(), load_model(finished / "runs/quickstart/final/model")
    assert found.config == loaded.config and not found.training
    images_BHWC = torch.randint(
        256, (5, 12, 12, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
    )
    with torch.inference_mode():
        assert torch.equal(found(images_BHWC), loaded(images_BHWC))


def test_model_of_a_trial_has_its_weights(usual: Study) -> None:
    model = usual.model(0)
    assert (model.config.origin["run"], model.config.image_size) == ("trial", 8)
    assert model.class_names == ("columns", "dots", "rows")
    saved = load_checkpoint(usual._session.paths.trial(0).best)
    weights = model.network.state_dict()
    assert weights.keys() == saved["network"].keys()
    assert all(torch.equal(value, weights[name]) for name, value in saved["network"].items())
    with pytest.raises(StudyError, match="TRIAL must be a trial that study 'quickstart'"):
        usual.model(7)


def test_model_of_a_study_without_a_final_run_is_rejected(opened: Study) -> None:
    with pytest.raises(StudyError, match="must have a final run that was tested"):
        opened.model()
    with pytest.raises(StudyError, match="must have kept its weights"):
        opened.model(1)


def test_model_needs_the_runs_folder_of_the_study(searched: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{searched}/study.db"
    with Study.open(storage=url, runs=tmp_path / "none") as found:
        with pytest.raises(StudyError, match="which holds no such study"):
            found.model(1)
        assert len(found.trials()) == 5


def test_predictions_are_those_of_the_command(
    usual: Study, finished: Path, call: Call, tmp_path: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out.jsonl"
    shutil.copytree(finished / "photos", photos)
    (photos / "broken.png").write_bytes(b"no picture")
    assert call("predict", str(photos), "--top", "2", "--out", str(out)).code == 1
    commanded = pd.read_json(out, lines=True)
    found = usual.predict(photos, top=2)
    assert_frame_equal(found, commanded, check_dtype=False, rtol=1e-8)
    assert found["error"].isna().tolist() == [False, True, True]
    listed = usual.predict([photos / "rows.png", str(photos / "dots.png")], trial=0)
    assert listed["file"].tolist() == [f"{photos}/rows.png", f"{photos}/dots.png"]
    assert [name for name in listed.columns if name.startswith("class")] == ["class_2", "class_3"]


def test_images_of_the_test_split_stay_sealed(usual: Study, finished: Path) -> None:
    model = usual.model()
    splits = {"test": "dots"}  # as if the source had a folder of its own for the test
    model.config.origin["data_splits"] = splits

    class Sealed(Study):
        def model(self, *_: object, **__: object) -> ExportedModel:
            return model

    sealed = Sealed(usual._request, usual._session)
    assert len(sealed.predict(finished / "pictures" / "rows")) == 12
    with pytest.raises(StudyError, match="must not be of the test split"):
        sealed.predict(finished / "pictures" / "dots")


def test_what_cannot_be_predicted_is_rejected_by_name(usual: Study, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must exist"):
        usual.predict(tmp_path / "none")
    with pytest.raises(StudyError, match="top must be a whole number of at least 1, got 0"):
        usual.predict("photos", top=0)
    with pytest.raises(ConfigurationError, match=r"^device"):
        usual.predict("photos", device="tpu")


@pytest.mark.parametrize("top", ["3", 2.0, True, None])
def test_top_of_another_type_is_rejected_in_one_line(opened: Study, top: Any) -> None:
    with pytest.raises(StudyError, match=f"^top must be a whole .*got {top!r}: [^\n]*$"):
        opened.predict("photos", top=top)


@pytest.mark.parametrize("images", [5, None, [5], ["a.png", b"b.png"]])
def test_images_that_are_no_paths_are_rejected_in_one_line(opened: Study, images: Any) -> None:
    with pytest.raises(StudyError, match=r"^images must be a path or several, [^\n]*$"):
        opened.predict(images)


@pytest.mark.parametrize("trial", ["0", "best", 0.0, True, None])
def test_trial_that_is_neither_number_nor_final_is_rejected(opened: Study, trial: Any) -> None:
    with pytest.raises(StudyError, match=f"^trial must be the number .*got {trial!r}: trials"):
        opened.model(trial)


def test_trial_that_never_trained_is_not_said_to_have_lost_its_weights(opened: Study) -> None:
    with pytest.raises(StudyError, match="3 is failed and has none, so it never had weights: no"):
        opened.model(3)


def test_opened_study_outlives_a_change_of_the_folder(
    finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(finished)
    for options in ({}, {"storage": "sqlite:///runs/study.db", "runs": "runs"}):
        monkeypatch.chdir(finished)
        with Study.open(**options) as found:  # type: ignore[arg-type]
            monkeypatch.chdir(tmp_path)
            found.close()
            assert len(found.trials()) == 1
            assert found.model(found.best["number"]).config.origin["run"] == "trial"


def test_example_of_the_document_runs(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    monkeypatch.delenv("STUDY_STORAGE", raising=False)
    monkeypatch.delenv("STUDY_RUNS", raising=False)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    exec(compile(example(), "study/README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "complete" in said and "('columns', 'dots', 'rows')" in said
    assert "photos/rows.png" in said
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")
    pyplot.close("all")


def example() -> str:
    """Return the lines of code in the section about Python."""
    section = DOCUMENT.read_text().split("\n## In Python\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("    ") or not line]
    code = textwrap.dedent("\n".join(lines))
    assert code.strip().startswith("from study import Study")
    return code


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
