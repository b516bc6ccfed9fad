"""What surrounds a worker goes wrong: its outputs, its disk. No trial is booked on that."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.tools.small_disk import small_disk
from tests.tools.studies import SmallStudy


@pytest.mark.slow
@pytest.mark.parametrize("outputs", ["speak_to_head", "speak_to_nobody", "speak_to_a_full_disk"])
def test_worker_whose_outputs_are_gone_works_on_and_leaves_no_traceback(
    study: SmallStudy, outputs: str
) -> None:
    study = study.with_settings(search={"budget": {"trials": 2}}).init()
    worker = study.processes.start(
        *study.arguments("worker"),
        folder=study.folder,
        prelude=f"tests.resilience.preludes:{outputs}",
    )
    assert worker.wait(180) == 0, worker.said()
    study.assert_whole(2)
    assert worker.errors.read_text() == ""


@pytest.mark.slow
def test_run_whose_reader_leaves_works_on(study: SmallStudy) -> None:
    study = study.with_settings(search={"budget": {"trials": 2}})
    run = study.processes.start(
        *study.arguments("run"),
        folder=study.folder,
        prelude="tests.resilience.preludes:speak_to_head",
    )
    assert run.wait(180) == 0, run.said()
    study.assert_whole(2)


def test_reading_command_ends_quietly_when_its_reader_leaves(study: SmallStudy) -> None:
    study.with_settings(search={"budget": {"trials": 60}}).init()
    listing = study.processes.start(
        *study.arguments("trials"),
        folder=study.folder,
        prelude="tests.resilience.preludes:speak_to_head",
    )
    listing.wait()  # rich and click end it with 1, as many programs do
    assert listing.errors.read_text() == ""


@pytest.fixture
def mounted(study: SmallStudy, tmp_path: Path) -> Iterator[SmallStudy]:
    """A study whose runs folder is a mounted one, to be unmounted under its workers."""
    with small_disk(tmp_path / "disk", megabytes=64):
        mount(study)
        try:
            yield study
        finally:
            unmount(study)


def mount(study: SmallStudy) -> None:
    study.runs.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", str(study.folder / "disk"), str(study.runs)], check=True)


def unmount(study: SmallStudy) -> None:
    subprocess.run(["umount", "--lazy", str(study.runs)], check=True)


@pytest.mark.slow
def test_runs_folder_that_is_unmounted_stops_the_worker_and_costs_no_trial(
    mounted: SmallStudy,
) -> None:
    study = mounted.with_settings(
        search={"budget": {"trials": 2}, "n_epochs": 6}, optimization={"batch_size": 4}
    ).init()
    worker = study.start_worker()
    worker.wait_for_epoch(2)
    unmount(study)
    try:
        assert worker.wait(180) == 1
        assert list(study.runs.iterdir()) == []  # nothing was written below the mount
    finally:
        mount(study)
    (line,) = worker.errors.read_text().splitlines()
    assert "storage.runs must " in line  # have room and be writable, or be the one of `init`
    assert "its trial is released" in line
    assert {trial.state for trial in study.trials()} == {TrialState.WAITING}
    study.work()
    study.assert_whole(2)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "while a trial runs"])
def test_image_cache_that_is_removed_is_prepared_again(
    study: SmallStudy, tmp_path: Path, moment: str
) -> None:
    cache = tmp_path / "cache"
    study = study.with_settings(
        data={"cache": str(cache)}, search={"budget": {"trials": 2}}
    ).init()
    if moment == "before":
        shutil.rmtree(cache)
    worker = study.start_worker()
    worker.wait_for_epoch(2)
    if moment != "before":
        shutil.rmtree(cache)
    assert worker.wait(180) == 0, worker.said()
    study.assert_whole(2)
