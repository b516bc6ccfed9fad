"""Exported files beside what SQLite and Optuna say of the same study."""

import json
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from dashboards.errors import DashboardError
from dashboards.export import files
from dashboards.export.files import epochs_path, write_tables
from storage.records import EpochRecord
from storage.study_storage import StudyStorage
from storage.trial_records import stream_trial_records
from tests.dashboards.conftest import STUDY_NAME, put

Read = Callable[[Path], pd.DataFrame]


def read_parquet(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path)


def read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


READERS: list[tuple[str, Read]] = [("trials.parquet", read_parquet), ("trials.csv", read_csv)]


def export(handle: StudyStorage, path: Path) -> None:
    write_tables(stream_trial_records(handle, STUDY_NAME), path)


def values_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame, without missing values."""
    rows: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]
    return [{k: v for k, v in row.items() if not pd.isna(v)} for row in rows]


def epochs_in(handle: StudyStorage) -> list[dict[str, Any]]:
    database = sqlite3.connect(str(handle.address.database))
    database.row_factory = sqlite3.Row
    found = database.execute(
        "SELECT t.number AS trial, e.* FROM epochs e JOIN trials t USING (trial_id) "
        "JOIN studies s USING (study_id) WHERE s.study_name = ? ORDER BY t.number, e.epoch",
        (STUDY_NAME,),
    ).fetchall()
    database.close()
    return [{k: row[k] for k in row.keys() if k != "trial_id"} for row in found]  # noqa: SIM118


@pytest.mark.parametrize(("name", "read"), READERS)
def test_file_of_epochs_equals_the_database(
    forked_study: StudyStorage, tmp_path: Path, name: str, read: Read
) -> None:
    export(forked_study, tmp_path / name)
    found = values_of(read(epochs_path(tmp_path / name)))
    assert found == epochs_in(forked_study) and len(found) == 15


@pytest.mark.parametrize(("name", "read"), READERS)
def test_file_of_trials_equals_what_optuna_says(
    forked_study: StudyStorage, tmp_path: Path, name: str, read: Read
) -> None:
    export(forked_study, tmp_path / name)
    rows = values_of(read(tmp_path / name))
    trials = optuna.load_study(study_name=STUDY_NAME, storage=forked_study).get_trials()
    assert [row["number"] for row in rows] == [trial.number for trial in trials]
    for row, trial in zip(rows, trials, strict=True):
        noted = trial.user_attrs
        assert row["trial_id"] == trial._trial_id
        assert row.get("slot") == noted.get("slot")
        assert row.get("host") == noted.get("host")
        assert {k: v for k, v in row.items() if k.startswith("params_")} == {
            f"params_{key}": value for key, value in trial.params.items()
        }
        curve = trial.intermediate_values
        best = max(curve, key=lambda epoch: curve[epoch], default=None)
        assert row.get("best_epoch") == best
        value = trial.values[0] if trial.values else curve.get(best or 0)
        assert row.get("value") == value
        reason = noted.get("reason", {})
        assert row.get("reason_kind") == reason.get("kind")
        assert row.get("reason_message") == reason.get("message")
        if trial.datetime_start is None:
            assert "started_at" not in row
        else:
            assert pd.Timestamp(row["started_at"]) == pd.Timestamp(
                trial.datetime_start.astimezone()
            )
    states = ["complete", "complete", "pruned", "failed", "running", "waiting", "complete"]
    assert [row["state"] for row in rows] == states
    assert [row["n_attempts"] for row in rows] == [0, 0, 0, 0, 1, 0, 0]
    assert (rows[-1]["imported_from_study"], rows[-1]["imported_from_trial"]) == ("older", 3)
    assert [row.get("imported_from_study") for row in rows[:-1]] == [None] * 6


def test_parquet_restores_types(forked_study: StudyStorage, tmp_path: Path) -> None:
    path = tmp_path / "trials.parquet"
    export(forked_study, path)
    trials, epochs = pd.read_parquet(path), pd.read_parquet(epochs_path(path))
    whole = ["number", "slot", "best_epoch", "seed", "imported_from_trial", "params_blocks_1"]
    assert {str(trials[name].dtype) for name in whole} == {"Int64"}
    assert str(trials["started_at"].dtype) == "datetime64[us, UTC]"
    assert trials["slot"].isna().tolist() == [False] * 6 + [True]
    assert {str(kind) for kind in epochs.dtypes[2:]} == {"float64"}
    assert {str(kind) for kind in epochs.dtypes[:2]} == {"Int64"}


def test_infinite_metric_is_exported_as_it_is(
    searched_study: StudyStorage, record: Callable[..., EpochRecord], tmp_path: Path
) -> None:
    trial_id = optuna.load_study(study_name=STUDY_NAME, storage=searched_study).trials[0]._trial_id
    put(searched_study, trial_id, EpochRecord(**{**vars(record(1)), "gradient_norm": math.inf}))
    for name, read in READERS:
        export(searched_study, tmp_path / name)
        assert read(epochs_path(tmp_path / name))["gradient_norm"][0] == math.inf


def test_number_of_rows_is_told_and_does_not_depend_on_the_page(
    forked_study: StudyStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, paged = tmp_path / "whole.csv", tmp_path / "paged.csv"
    export(forked_study, whole)
    monkeypatch.setattr(files, "MOST_TRIALS", 2)
    written = write_tables(stream_trial_records(forked_study, STUDY_NAME), paged)
    assert (written.n_trials, written.n_epochs) == (7, 15)
    assert paged.read_bytes() == whole.read_bytes()
    assert epochs_path(paged).read_bytes() == epochs_path(whole).read_bytes()


def test_study_without_epochs_has_both_files(empty_study: StudyStorage, tmp_path: Path) -> None:
    for name, read in READERS:
        export(empty_study, tmp_path / name)
        assert read(tmp_path / name)["state"].tolist() == ["waiting"] * 6
        assert len(read(epochs_path(tmp_path / name))) == 0


def test_files_stay_as_they_were_when_reading_breaks_off(
    forked_study: StudyStorage, tmp_path: Path
) -> None:
    path = tmp_path / "trials.parquet"
    export(forked_study, path)
    before = {file: file.read_bytes() for file in tmp_path.glob("trials*")}

    def broken() -> Any:
        yield from list(stream_trial_records(forked_study, STUDY_NAME))[:2]
        raise RuntimeError("the database is away")

    with pytest.raises(RuntimeError, match="away"):
        write_tables(broken(), path)
    assert {file: file.read_bytes() for file in tmp_path.glob("trials*")} == before
    assert not list(tmp_path.glob(".*.part"))


def test_folder_that_is_not_there_is_rejected_in_one_line(
    forked_study: StudyStorage, tmp_path: Path
) -> None:
    with pytest.raises(DashboardError, match="--to must be a file that can be written") as told:
        export(forked_study, tmp_path / "none" / "trials.csv")
    assert str(tmp_path / "none" / ".trials") not in str(told.value)
    assert "\n" not in str(told.value) and not (tmp_path / "none").exists()


@pytest.mark.parametrize("folder", ["trials.csv", "trials.epochs.csv"])
def test_folder_of_the_name_is_rejected_before_a_file_is_replaced(
    forked_study: StudyStorage, tmp_path: Path, folder: str
) -> None:
    (tmp_path / folder).mkdir()
    with pytest.raises(DashboardError, match=f"{folder} cannot be .Is a directory"):
        export(forked_study, tmp_path / "trials.csv")
    assert [path.name for path in tmp_path.glob("*trials*")] == [folder]


def test_attributes_of_any_kind_become_columns_of_one_type(
    searched_study: StudyStorage, tmp_path: Path
) -> None:
    optuna_study = optuna.load_study(study_name=STUDY_NAME, storage=searched_study)
    open_trials = [t for t in optuna_study.get_trials() if not t.state.is_finished()]
    first, second = (trial._trial_id for trial in open_trials)
    noted = {"versions": [{"torch": "2"}, {"torch": "3"}], "mixed": ["a", 1], "whole": [1, 2.5]}
    noted |= {"large": [2**70, 1], "ready": [True, False], "seed": [2**32 - 1, 0]}
    for key, values in noted.items():
        for trial_id, value in zip((first, second), values, strict=True):
            searched_study.set_trial_user_attr(trial_id, key, value)
    export(searched_study, tmp_path / "trials.parquet")
    two = pd.read_parquet(tmp_path / "trials.parquet").iloc[4:6]
    assert [json.loads(text) for text in two["user_attrs_versions"]] == noted["versions"]
    assert two["user_attrs_mixed"].tolist() == ["a", "1"]
    assert two["user_attrs_whole"].tolist() == [1.0, 2.5]
    assert two["user_attrs_large"].tolist() == [str(2**70), "1"]
    assert two["user_attrs_ready"].tolist() == [True, False]
    assert two["seed"].tolist() == [2**32 - 1, 0]
