import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.report.final_section import read_final_runs
from storage.checkpoints import load_checkpoint, save_checkpoint
from storage.run_paths import RunPaths
from storage.test_evaluations import (
    read_tests,
)
from study.configuration.config import Request
from study.doctor.doctor import examine
from study.errors import ProtocolError, StudyError
from tests.study.histories import NAME, World


@pytest.fixture
def world(tiny_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    lived = World(tiny_settings, monkeypatch)
    yield lived
    lived.close()


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "runs", NAME)


def diagnosed(world: World) -> list[str]:
    found = examine(Request(options=world.place), repair=False, say=lambda _: None)
    return [one.line for one in found]


def test_files_of_another_history_are_set_aside_and_the_trial_is_trained_anew(
    world: World, paths: RunPaths, caplog: pytest.LogCaptureFixture
) -> None:
    world.back_up()
    world.run(4)
    trial = paths.trial(0)
    trial.tensorboard.mkdir()
    (trial.tensorboard / "events.out.tfevents.1.host").touch()
    before = {path.name: path.read_bytes() for path in trial.folder.glob("*.*")}
    world.restore(0)
    foreign = f"{trial.best}: weights of another trial or history (the trial has no"
    assert any(line.startswith(foreign) for line in diagnosed(world))
    with caplog.at_level(logging.WARNING):
        world.do(lambda world: world.run(4))
    (said,) = (one.message for one in caplog.records if f"{trial.folder} held" in one.message)
    assert "set aside as 00000.set-aside-1, the trial is trained anew" in said
    aside = trial.folder.with_name("00000.set-aside-1")
    assert {path.name: path.read_bytes() for path in aside.glob("*.*")} == before
    assert not list(aside.rglob("*tfevents*")) and list(aside.rglob("events.out.set-aside.*"))
    world.do(lambda world: world.run(99))
    assert diagnosed(world) == []


def test_checkpoint_with_more_epochs_than_one_beyond_the_recorded_is_set_aside(
    world: World, paths: RunPaths
) -> None:
    world.run(1)
    world.back_up()
    world.run(1)
    world.restore(0)
    world.n_restored = 0
    world.run(1)  # saved, its report lost: resumed
    assert not list(paths.folder.rglob("*.set-aside-*"))
    world.restore(0)
    world.run(1)
    assert [path.name for path in paths.folder.rglob("*.set-aside-*")] == ["00000.set-aside-1"]


def test_checkpoints_of_an_earlier_version_are_resumed(world: World, paths: RunPaths) -> None:
    world.run(2)
    for path in (paths.trial(0).best, *paths.trial(0).checkpoints.iterdir()):
        saved = load_checkpoint(path)
        save_checkpoint(path, {k: saved[k] for k in saved.keys() - {"study_key", "slot", "seed"}})
    world.do(lambda world: world.run(99))
    assert not list(paths.folder.rglob("*.set-aside-*"))


def test_forgotten_test_result_is_kept_and_another_test_needs_a_reason(
    world: World, paths: RunPaths
) -> None:
    world.run(99)
    world.back_up()
    world.final(99)
    first = {path: path.read_bytes() for path in paths.final(0).folder.rglob("*.*")}
    world.restore(0)
    (line,) = diagnosed(world)
    assert line.startswith(f"{paths.final(0).metrics}: a test result that the database does not")
    with pytest.raises(ProtocolError, match="opened once.*--reopen REASON"):
        world.final(99)
    world.do(lambda world: world.final(99, reopen="the database came back"))
    assert paths.final(1).metrics.is_file() and world.n_opened == 2
    assert {path: path.read_bytes() for path in first} == first
    tests = read_tests(world.handle.database, NAME)
    assert [test.reason for test in tests][1] == "the database came back"
    assert tests[0].metrics is not None and diagnosed(world) == []
    assert [run.test for run in read_final_runs(world.handle, NAME, paths)] == tests
    world.do(lambda world: world.final(99))  # its result stands
    assert world.n_opened == 2


def test_weights_of_another_run_are_never_tested(world: World, paths: RunPaths) -> None:
    world.run(99)
    world.final(4)  # trained, not yet tested
    best = load_checkpoint(paths.final(0).best)
    save_checkpoint(paths.final(0).best, best | {"seed": best["seed"] + 1})
    with pytest.raises(StudyError, match=r"best.pt must hold the weights .*run.seed is \d+ there"):
        world.final(99)
    assert world.n_opened == 0
