"""Decoded images damaged in mid-study cost no trial and change no value."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from optuna.trial import TrialState

from data.image_cache import prepare
from model.training import EpochResult
from storage.leases import read_endings
from study.configuration.config import validated
from study.creation.create import initialise
from study.session.session import StudySession
from study.stop_signal import StopFlag
from study.workers.worker import Worker

Settings = dict[str, object]
Damages = Mapping[tuple[int, int], Callable[[Path], object]]
"""What is done to the cache after an epoch, by the number of the trial and of the epoch."""


def train_images(cache: Path) -> Path:
    (path,) = (one for one in cache.glob("images-*/train.images") if not one.parent.suffix)
    return path


def zero_half(cache: Path) -> None:
    path = train_images(cache)
    facts = path.stat()
    with path.open("r+b") as file:
        file.seek(facts.st_size // 2)
        file.write(bytes(facts.st_size - facts.st_size // 2))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 10**9))


def truncate(cache: Path) -> None:
    os.truncate(train_images(cache), 1000)


def work(settings: Settings, folder: Path, damages: Damages) -> StudySession:
    """Work on a study of its own, whose images are damaged after some epochs of some trials."""
    data = {**settings["data"], "cache": str(folder / "cache")}  # type: ignore[dict-item]
    place = {
        **settings["storage"],  # type: ignore[dict-item]
        "url": f"sqlite:///{folder}/study.db",
        "runs": str(folder / "runs"),
    }
    folder.mkdir()
    session = initialise(validated({**settings, "data": data, "storage": place}))
    waiting = dict(damages)

    def announce(number: int, result: EpochResult) -> None:
        damage = waiting.pop((number, result.epoch), None)
        if damage is not None:
            damage(folder / "cache")

    Worker(session, prepare(session.config.data), stop=StopFlag(), announce=announce).work()
    assert not waiting
    return session


@pytest.mark.slow
def test_images_damaged_in_mid_study_change_no_value(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    search = {**tiny_settings["search"], "budget": {"trials": 2}, "n_epochs": 2}  # type: ignore[dict-item]
    settings = {**tiny_settings, "search": search}
    whole = work(settings, tmp_path / "whole", {})
    damages: Damages = {(0, 1): zero_half, (0, 2): truncate, (1, 1): shutil.rmtree}
    mended = work(settings, tmp_path / "mended", damages)
    trials = mended.optuna_study().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert [trial.intermediate_values for trial in trials] == [
        trial.intermediate_values for trial in whole.optuna_study().trials
    ]
    ids = [trial._trial_id for trial in trials]
    endings = read_endings(mended.storage_handle.database, ids)
    assert [endings[one] for one in ids] == [["preempted", "complete"], ["complete"]]
