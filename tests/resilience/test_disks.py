from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from storage.checkpoints import load_checkpoint
from tests.tools.processes import StartedProcess, wait_until
from tests.tools.small_disk import SmallDisk, small_disk
from tests.tools.studies import SmallStudy


@pytest.fixture
def disk(study: SmallStudy) -> Iterator[SmallDisk]:
    with small_disk(study.runs, megabytes=4) as mounted:
        yield mounted


def errors(worker: StartedProcess) -> list[str]:
    lines = worker.errors.read_text().splitlines()
    print(f"{worker.name}, exit {worker.poll()}:", *lines[-3:], sep="\n  ")
    return lines


def assert_checkpoints_are_whole(study: SmallStudy) -> None:
    for path in study.runs.rglob("*.pt"):
        load_checkpoint(path)
    assert not list(study.runs.rglob("*.part"))


@pytest.mark.slow
def test_full_disk_stops_the_worker_with_its_reason_and_costs_no_trial(
    study: SmallStudy, disk: SmallDisk
) -> None:
    study = study.with_settings(
        search={"budget": {"trials": 3}, "n_epochs": 6}, optimization={"batch_size": 4}
    ).init()
    worker = study.start_worker()
    worker.wait_for_epoch(2)
    disk.fill()
    assert worker.wait() == 1
    (line,) = errors(worker)
    assert "storage.runs must have room" in line
    assert "No space left on device" in line and "its trial is released" in line
    assert {trial.state for trial in study.trials()} == {TrialState.WAITING}
    assert_checkpoints_are_whole(study)

    disk.free()
    study.work()
    study.assert_whole(3)


@pytest.mark.slow
def test_full_disk_under_the_database_too_loses_nothing(
    study: SmallStudy, disk: SmallDisk
) -> None:
    study = replace(study, url=f"sqlite:///{study.runs}/study.db")
    study = study.with_settings(
        search={"budget": {"trials": 2}, "n_epochs": 6}, optimization={"batch_size": 4}
    ).init()
    worker = study.start_worker()
    worker.wait_for_epoch(2)
    disk.fill()
    # It waits for the database, but not for a file of the trial, whichever meets the disk first.
    wait_until(
        lambda: "disk is full" in worker.errors.read_text() or worker.poll() is not None,
        "its first complaint",
    )
    disk.free()
    exit_code = worker.wait()
    assert exit_code in (0, 1)
    last = errors(worker)[-1]
    assert exit_code == 0 or "No space left on device" in last
    assert_checkpoints_are_whole(study)

    study.work()
    study.assert_whole(2)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["init", "worker"])
def test_read_only_run_folder_is_rejected_in_one_line_and_costs_no_trial(
    study: SmallStudy, disk: SmallDisk, command: str
) -> None:
    study = study.with_settings(search={"budget": {"trials": 3}})
    if command == "worker":
        study.init()
    disk.make_read_only()
    rejected = study.processes.start(*study.arguments(command), folder=study.folder)
    assert rejected.wait() == 2, errors(rejected)
    (line,) = errors(rejected)
    assert "study: " in line and str(study.runs) in line
    assert "must be a folder that can be written" in line
    disk.make_writable()
    study.init().work()
    study.assert_whole(3)


def flip_bytes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "damage"),
    [("newest", flip_bytes), ("newest", cut_short), ("newest", empty), ("all", flip_bytes)],
)
def test_damaged_checkpoint_falls_back_and_ends_as_it_would_have(
    study: SmallStudy, which: str, damage: Callable[[Path], None]
) -> None:
    study = study.with_settings(search={"n_epochs": 8}, optimization={"batch_size": 4}).init()
    straight = study.straight()
    worker = study.start_worker()
    worker.wait_for_epoch(4)
    worker.kill()
    checkpoints = sorted(study.trial_paths(0).checkpoints.glob("epoch-*.pt"))
    assert len(checkpoints) in (2, 3)  # killed, perhaps, before the third-newest was removed
    damaged = checkpoints if which == "all" else checkpoints[-1:]
    for path in damaged:
        damage(path)

    second = study.work()
    assert len([line for line in errors(second) if "is damaged" in line]) == len(damaged)
    whole = 0 if which == "all" else int(checkpoints[-2].stem.removeprefix("epoch-"))
    assert second.epochs()[0] == (0, whole + 1)
    study.assert_whole(1)
    assert study.run_sha256(0) == straight.run_sha256(0)


@pytest.mark.slow
def test_first_checkpoint_after_all_were_damaged_is_the_one_to_resume_from(
    study: SmallStudy,
) -> None:
    study = study.with_settings(search={"n_epochs": 8}, optimization={"batch_size": 2}).init()
    straight = study.straight()
    first = study.start_worker()
    first.wait_for_epoch(5)
    first.kill()
    for path in study.trial_paths(0).checkpoints.glob("epoch-*.pt"):
        flip_bytes(path)

    second = study.start_worker()
    second.wait_for_epoch(2)  # said after the checkpoint of epoch 1
    second.kill()
    assert second.epochs()[0] == (0, 1)
    newest = max(study.trial_paths(0).checkpoints.glob("epoch-*.pt"))
    n_saved = int(newest.stem.removeprefix("epoch-"))
    assert n_saved <= second.epochs()[-1][1] < 5

    third = study.work()
    assert third.epochs()[0] == (0, n_saved + 1)
    study.assert_whole(1)
    assert study.run_sha256(0) == straight.run_sha256(0)
