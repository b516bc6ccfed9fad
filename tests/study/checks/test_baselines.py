"""`study data` and `study baselines`, with a study and without one."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.analysis.baselines import best_of
from data.configuration import DataConfig
from data.image_cache import PreparedData, prepare
from storage.errors import StorageError
from storage.run_paths import DataPaths
from study.checks.baselines import find_learned, learned, measure_guesses, stratified_rows
from study.configuration.config import Request
from study.session.data_choice import chosen_configuration
from tests.study.conftest import Call

LEARNED = {"nearest mean colour", "logistic regression, 8x8 pixels"}


@pytest.fixture
def prepared(pictures: Path, tmp_path: Path) -> PreparedData:
    values = {"source": str(pictures), "image_size": 8, "cache": tmp_path / "cache"}
    return prepare(DataConfig.model_validate(values))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.data())
def test_stratified_rows_are_within_the_limit_and_hold_every_class(
    counts: list[int], data: st.DataObject
) -> None:
    labels_N = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    most = data.draw(st.integers(len(counts), 2 * sum(counts)))
    rows = stratified_rows(labels_N, most=most)
    assert len(rows) == min(most, sum(counts))
    assert (np.diff(rows) > 0).all()
    kept = np.bincount(labels_N[rows], minlength=len(counts))
    assert (kept >= 1).all() and (kept <= counts).all()
    assert (rows == stratified_rows(labels_N, most=most)).all()


def test_learned_baselines_are_kept_and_found_again(
    prepared: PreparedData, tmp_path: Path
) -> None:
    said: list[str] = []
    assert find_learned(prepared, tmp_path / "runs") is None
    first = learned(prepared, tmp_path / "runs", announce=said.append)
    again = learned(prepared, tmp_path / "runs", announce=said.append)
    assert first == again and len(said) == 1
    assert set(first.scores) == LEARNED
    assert first.n_train_images == prepared.description.counts["train"]
    # Rows and columns are bright as often: only the thumbnails tell them apart.
    assert best_of({**measure_guesses(prepared), **first.scores}).name.startswith("logistic")


def test_learned_baselines_of_other_data_or_another_recipe_are_learned_anew(
    prepared: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned(prepared, tmp_path, announce=lambda _: None)
    file = DataPaths(tmp_path, prepared.fingerprint).baselines
    monkeypatch.setattr("study.checks.baselines.RECIPE", 99)
    assert find_learned(prepared, tmp_path) is None
    monkeypatch.undo()
    stored = json.loads(file.read_text())
    file.write_text(json.dumps(stored | {"data_fingerprint": prepared.fingerprint[:12] + "0"}))
    assert find_learned(prepared, tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"recipe": 1}', "[" * 100_000])
def test_damaged_baselines_are_rejected_with_the_file_to_remove(
    prepared: PreparedData, tmp_path: Path, text: str
) -> None:
    file = DataPaths(tmp_path, prepared.fingerprint).baselines
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(StorageError, match=r"baselines\.json .* is damaged: remove it"):
        find_learned(prepared, tmp_path)


def test_data_and_baselines_without_a_study_use_the_data_that_are_given(
    call: Call,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_opened: Counter[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--data", str(pictures), "--set", "data.image_size=8", "--set", "data.cache=cache"]
    described = json.loads(call("data", *given, "--json").out)
    assert described["duplicates"]["n_groups"] == 0
    assert not (tmp_path / "runs").exists()
    before = call("data", *given)
    assert before.code == 0
    report = DataPaths(Path("runs"), described["fingerprint"]).report
    assert str(report) in before.out.replace("\n", "")
    assert "adds what cheap learners achieve" in report.read_text()
    found = json.loads(call("baselines", *given, "--json").out)
    assert set(found["scores"]) == {"majority", "random"} | LEARNED
    assert found["n_validation_images"] == described["counts"]["validation"]
    table = call("baselines", *given)
    assert "nearest mean colour" in table.out and "learning" not in table.err
    away = call("baselines", *given, "--storage", "postgresql+psycopg://x@127.0.0.1:1/x")
    assert away.code == 0 and away.out == table.out
    assert call("data", *given).code == 0
    assert "nearest mean colour" in report.read_text()
    assert set(n_opened) == {"train", "validation"}


def test_baselines_of_a_study_are_shown_beside_its_results(
    call: Call, config_file: str, tmp_path: Path
) -> None:
    assert call("init", "--config", config_file).code == 0
    place = ["--storage", f"sqlite:///{tmp_path}/study.db", "--runs", str(tmp_path / "runs")]
    assert "best baseline: validation macro-F1 0.3238, random" in call("status", *place).out
    found = json.loads(call("baselines", *place, "--json").out)
    assert found["scores"]["random"]["accuracy"] == pytest.approx(1 / 3)
    assert "logistic regression, 8x8 pixels" in call("status", *place).out
    assert call("report", *place).code == 0
    page = (tmp_path / "runs" / "tiny" / "report.html").read_text()
    assert "validation, logistic regression, 8x8 pixels" in page
    assert "nearest mean colour" in page


def test_chosen_data_are_those_of_the_study_unless_data_are_given(
    call: Call, config_file: str, tmp_path: Path
) -> None:
    assert call("init", "--config", config_file).code == 0
    url = {"storage.url": f"sqlite:///{tmp_path}/study.db"}
    assert chosen_configuration(Request(options=url)).data.image_size == 8
    named = Request(options=url | {"name": "tiny", "data.source": "synthetic"})
    assert chosen_configuration(named).data.image_size == 8
    assert chosen_configuration(named).data.source == "synthetic"
    given = Request(options=url | {"data.source": "synthetic"})
    assert chosen_configuration(given).data.image_size == 64
    other = Request(options=url | {"name": "other"})
    assert chosen_configuration(other).data == DataConfig()
    preset = Request(preset="quickstart", options=url)
    assert chosen_configuration(preset).data.image_size == 32
    nowhere = Request(options={"storage.url": f"sqlite:///{tmp_path}/none.db"})
    assert chosen_configuration(nowhere).data == DataConfig()
    assert not (tmp_path / "none.db").exists()


def test_tensorboard_of_all_runs_needs_no_study_but_a_folder(call: Call, tmp_path: Path) -> None:
    ended = call("tensorboard", "--all", "--runs", str(tmp_path / "nowhere"))
    assert ended.code == 2
    assert "nowhere does not" in ended.err
