import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from storage.run_paths import RunPaths
from study.checks.lr_finder import write_narrowed
from study.configuration.config import Request, validated
from study.creation.create import initialise
from study.errors import StudyError
from tests.study.conftest import Call

QUICK = ("--steps", "24", "--low", "1e-3", "--high", "1")


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "runs", "tiny")


def test_range_test_comes_before_the_study_and_narrows_it(
    call: Call, config_file: str, paths: RunPaths
) -> None:
    measured = call("lr-range", "--config", config_file, *QUICK, "--apply")
    assert measured.code == 0, measured.err
    files = paths.range_test
    record = json.loads(files.record.read_text())
    rate = record["suggested_rate"]
    assert f"--set optimization.learning_rate={float(f'{rate:.2g}')}" in measured.out
    assert files.picture.read_bytes().startswith(b"\x89PNG")
    events = EventAccumulator(str(files.tensorboard)).Reload()
    losses = [event.value for event in events.Scalars("lr_range/loss")]
    assert losses == pytest.approx(record["curve"]["losses"])

    again = call("lr-range", "--config", config_file, *QUICK, "--json")
    assert json.loads(again.out) == record
    assert len(list(files.tensorboard.iterdir())) == 1
    narrowed = Request(file=files.configuration).resolve().search.searched
    within = narrowed["optimization.learning_rate"]
    assert 1e-3 <= within["low"] < rate < within["high"] <= 1.0
    place = ("--storage", f"sqlite:///{paths.runs.parent}/study.db", "--runs", str(paths.runs))
    assert call("init", "--config", str(files.configuration), *place).code == 0
    assert files.record.exists()

    rejected = call("lr-range", "--name", "tiny", *place, *QUICK, "--apply")
    assert rejected.code == 2
    assert "'tiny' exists: give another --name" in rejected.err
    assert call("lr-range", "--name", "tiny", *place, *QUICK).code == 0
    assert call("report", "--name", "tiny", *place).code == 0
    assert "LR finder (range test)" in paths.report.read_text()


def test_report_without_a_range_test_shows_none(
    call: Call, tiny_settings: dict[str, Any], config_file: str, paths: RunPaths
) -> None:
    initialise(validated(tiny_settings))
    assert call("report", "--config", config_file).code == 0
    assert "range test" not in paths.report.read_text()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--low", "1", "--high", "0.1"], "--low must be positive and lie below --high"),
        (["--low", "0"], "--low must be positive"),
        (["--steps", "3"], "--steps must be at least 10, got 3"),
        (
            ["--set", "search.space=blocks-dropout", "--apply"],
            "search.space does not vary optimization.learning_rate",
        ),
    ],
)
def test_misuse_is_rejected_before_anything_is_measured(
    call: Call, config_file: str, paths: RunPaths, arguments: list[str], hint: str
) -> None:
    ended = call("lr-range", "--config", config_file, *arguments)
    assert ended.code == 2
    assert hint in ended.err
    assert not paths.runs.exists()


def test_folder_of_another_study_is_rejected(
    call: Call, config_file: str, paths: RunPaths
) -> None:
    paths.claim("of another database")
    ended = call("lr-range", "--config", config_file, *QUICK)
    assert ended.code == 2
    assert "is in use" in ended.err
    assert not paths.range_test.folder.exists()


@pytest.mark.slow
def test_rate_that_suits_nothing_ends_with_a_picture_and_exit_1(
    call: Call, config_file: str, paths: RunPaths
) -> None:
    ended = call("lr-range", "--config", config_file, "--low", "1e-9", "--high", "1e-8")
    assert ended.code == 1
    assert "the loss never falls between 1e-09 and 1e-08: widen" in ended.err
    assert paths.range_test.picture.is_file()
    shutil.rmtree(paths.runs)


def test_configuration_of_an_earlier_curve_does_not_stay_beside_one_that_suggests_nothing(
    call: Call, config_file: str, paths: RunPaths
) -> None:
    assert call("lr-range", "--config", config_file, *QUICK, "--apply").code == 0
    assert paths.range_test.configuration.is_file()
    nothing = ("--low", "1e-9", "--high", "1e-8", "--steps", "12")
    assert call("lr-range", "--config", config_file, *nothing).code == 1
    assert json.loads(paths.range_test.record.read_text())["suggested_rate"] is None
    assert not paths.range_test.configuration.exists()


def test_narrowed_range_stays_within_the_old_one(
    tiny_settings: dict[str, Any], paths: RunPaths
) -> None:
    config = validated(tiny_settings)
    paths.folder.mkdir(parents=True)
    assert write_narrowed(config, 0.31, paths.range_test) == (0.031, 1.0)
    with pytest.raises(StudyError, match="must reach to a decade of the suggestion 50"):
        write_narrowed(config, 50.0, paths.range_test)
