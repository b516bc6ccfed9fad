from pathlib import Path
from typing import Any

import pytest

from model.export import load_config
from storage.checkpoints import load_checkpoint, save_checkpoint
from study.creation.create import initialise
from study.errors import StudyError
from study.export.kept_run import open_tested, open_trial
from tests.study.conftest import Call
from tests.study.export.conftest import FinishedStudy
from tests.study.searches import configured, pretend_to_search


def other_trial(tested: FinishedStudy) -> int:
    """Number of the trial whose weights were not kept."""
    return 1 - tested.winner.row.number


def test_trial_without_weights_is_rejected_with_those_that_have_kept_theirs(
    tested: FinishedStudy,
) -> None:
    kept = f"kept are, the best first, those of {tested.winner.row.number} "
    with pytest.raises(StudyError, match=rf"{kept}\(storage.kept_trials=1\)"):
        open_trial(tested.searched, other_trial(tested))


def test_unknown_trial_is_rejected(tested: FinishedStudy) -> None:
    with pytest.raises(StudyError, match="that study 'tiny' has trained, 7 is none: see `study"):
        open_trial(tested.searched, 7)


def test_imported_trial_is_exported_where_it_was_trained(
    tiny_settings: dict[str, Any], call: Call, tmp_path: Path
) -> None:
    session = initialise(configured(tiny_settings, {"search.budget.trials": 4}))
    pretend_to_search(session)
    place = session.config.storage
    there = ["--storage", place.url, "--runs", str(place.runs)]
    session.location.close()
    ended = call("fork", "larger", "--name", "tiny", "--set", "search.budget.trials=6", *there)
    assert ended.code == 0, ended.err
    ended = call("export", "0", "--name", "larger", *there, "--to", str(tmp_path / "model"))
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "0 is imported from study 'tiny': export it there with `study export 0" in ended.err
    assert "--name tiny --to FOLDER" in ended.err


def test_weights_of_another_run_are_rejected(tested: FinishedStudy) -> None:
    number, path = tested.winner.row.number, tested.winner.paths.best
    before = path.read_bytes()
    save_checkpoint(path, load_checkpoint(path) | {"seed": 1})
    with pytest.raises(StudyError, match=r"must hold the weights of this run .run.seed is 1"):
        open_trial(tested.searched, number)
    path.write_bytes(before)


def test_weights_that_were_not_tested_are_rejected(tested: FinishedStudy) -> None:
    path = tested.run.paths.best
    before = path.read_bytes()
    save_checkpoint(path, load_checkpoint(path) | {"note": "other bytes"})
    with pytest.raises(StudyError, match="their hash is another one than at the test"):
        open_tested(tested.final)
    path.write_bytes(before)


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_command_exports_and_changes_nothing(
    tested: FinishedStudy, call: Call, tmp_path: Path
) -> None:
    storage = tested.searched.config.storage
    place = ["--storage", storage.url, "--runs", str(storage.runs)]
    before = snapshot(storage.runs)
    number, folder = tested.winner.row.number, tmp_path / "new" / "model"
    ended = call("export", str(number), *place, "--to", str(folder))
    assert (ended.code, ended.err) == (0, "")
    assert f"the model of trial {number}, which was not tested, lies in {folder}" in ended.out
    assert len(list(folder.iterdir())) == 5
    ended = call("export", *place, "--to", str(folder))
    assert (ended.code, ended.err) == (0, "")
    assert f"the model of the final run lies in {folder}" in ended.out
    assert load_config(folder).metrics["test"] == tested.run.test.metrics  # type: ignore[union-attr]
    assert snapshot(storage.runs) == before

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    for arguments, said in (
        (["--to", str(tmp_path / "mine")], "has no config.json: give another folder"),
        (["best", "--to", str(tmp_path / "a")], "must be the number of a trial, or final"),
        ([], "Missing option '--to'"),
    ):
        ended = call("export", *arguments, *place)
        assert ended.code == 2 and said in ended.err
        assert ended.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "new"]


def test_final_run_before_its_test_is_rejected(
    tiny_settings: dict[str, object], call: Call, tmp_path: Path, config_file: str
) -> None:
    assert call("init", "--config", config_file).code == 0
    place = ["--storage", f"sqlite:///{tmp_path}/study.db", "--runs", str(tmp_path / "runs")]
    ended = call("export", *place, "--to", str(tmp_path / "model"))
    assert ended.code == 2
    assert "must have a final run that was tested, it has none: run `study final" in ended.err
    ended = call("export", "0", *place, "--to", str(tmp_path / "model"))
    assert ended.code == 2 and "TRIAL must be finished, 0 is waiting" in ended.err
    assert not (tmp_path / "model").exists()
    (study,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    ended = call("export", "0", *place, "--to", str(study / "final" / "model"))
    assert ended.code == 2 and "--to must lie outside the run folders of studies" in ended.err
