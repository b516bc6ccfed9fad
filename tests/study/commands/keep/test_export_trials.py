"""The command line of what hands trials to other programs."""

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from study.configuration.config import Request
from study.session.session import open_session
from tests.study.conftest import Call, Ended
from tests.study.searches import pretend_to_search

Export = Callable[..., Ended]


@pytest.fixture
def export(call: Call, config_file: str, tiny_settings: dict[str, object]) -> Export:
    """Export a study of one complete and one pruned trial; a third one waits."""
    assert call("init", "--config", config_file).code == 0
    session = open_session(Request(file=Path(config_file)))
    pretend_to_search(session, ([0.2, 0.5, 0.4], [0.1]))
    session.location.close()
    return lambda to: call("export-trials", "--config", config_file, "--to", to)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_files_are_written_and_named(export: Export, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"out.{kind}"
    ended = export(str(path))
    assert (ended.code, ended.err) == (0, "")
    epochs = tmp_path / f"out.epochs.{kind}"
    assert ended.out.splitlines() == [f"trials (3): {path}", f"epochs (4): {epochs}"]
    read = pd.read_parquet if kind == "parquet" else pd.read_csv
    assert read(path)["state"].tolist() == ["complete", "pruned", "waiting"]
    assert read(epochs)["validation_macro_f1"].tolist() == [0.2, 0.5, 0.4, 0.1]


def test_folder_of_mlflow_gets_a_run_for_each_begun_trial(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path / "mlruns"
    for n_new, n_complete in ((2, 0), (0, 2)):
        ended = export(f"mlflow:{folder}")
        assert ended.code == 0
        assert (
            f"experiment 'tiny' of file://{folder}: runs added: {n_new}, continued: 0, "
            f"complete before: {n_complete}; waiting trials, without a run: 1\n" in ended.out
        )
    client = MlflowClient(tracking_uri=folder.as_uri())
    (experiment,) = client.search_experiments(filter_string="name = 'tiny'")
    found = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name: run.info.status for run in found} == {
        "trial 0": "FINISHED",
        "trial 1": "KILLED",
    }


@pytest.mark.parametrize("target", ["trials.xlsx", "trials", "mlflows:x", "", "trials.CSV"])
def test_other_target_is_misuse_before_a_study_is_opened(call: Call, target: str) -> None:
    ended = call("export-trials", "--to", target)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1 and f"got {target!r}" in ended.err


def test_missing_mlflow_is_misuse(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    ended = export("mlflow")
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1 and "pip install '.[mlflow]'" in ended.err


def test_nothing_in_the_study_changes(
    export: Export, tmp_path: Path, tiny_settings: dict[str, object]
) -> None:
    def content() -> tuple[list[str], set[Path]]:
        database = sqlite3.connect(tmp_path / "study.db")
        found = list(database.iterdump())
        database.close()
        return found, set((tmp_path / "runs").rglob("*"))

    before = content()
    assert export(str(tmp_path / "out.csv")).code == 0
    assert export(f"mlflow:{tmp_path / 'mlruns'}").code == 0
    assert content() == before
