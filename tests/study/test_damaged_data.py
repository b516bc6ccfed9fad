"""Decoded images damaged in mid-study cost no trial and change no value."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from optuna.trial import TrialState

from data.image_cache import prepare
from model.training import EpochResult
from storage.leases import read_endings
from study.config import validated
from study.initialisation import initialise
from study.session import StudySession
from study.stopping import StopFlag
from study.worker import Worker

Settings = dict[str, object]


def zero_half(cache: Path) -> None:
    (path,) = cache.glob("images-*/train.images")
    facts = path.stat()
    with path.open("r+b") as file:
        file.seek(facts.st_size // 2)
        file.write(bytes(facts.st_size - facts.st_size // 2))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 10**9))


def truncate(cache: Path) -> None:
    (path,) = cache.glob("images-*/train.images")
    os.truncate(path, 1000)


def work(
    settings: Settings, folder: Path, damage: Callable[[Path], object], *, after_epoch: int
) -> StudySession:
    """Work on a study of its own, whose images are damaged after an epoch of the first trial."""
    data = {**settings["data"], "cache": str(folder / "cache")}  # type: ignore[dict-item]
    place = {
        **settings["storage"],  # type: ignore[dict-item]
        "url": f"sqlite:///{folder}/study.db",
        "runs": str(folder / "runs"),
    }
    folder.mkdir()
    session = initialise(validated({**settings, "data": data, "storage": place}))
    damaged = []

    def announce(number: int, result: EpochResult) -> None:
        if not damaged and (number, result.epoch) == (0, after_epoch):
            damaged.append(damage(folder / "cache"))

    Worker(session, prepare(session.config.data), stop=StopFlag(), announce=announce).work()
    return session


def test_images_damaged_in_mid_study_change_no_value(
    tiny_settings: Settings, tmp_path: Path
) -> None:
    search = {**tiny_settings["search"], "n_trials": 2, "n_epochs": 2}  # type: ignore[dict-item]
    settings = {**tiny_settings, "search": search}
    whole = work(settings, tmp_path / "whole", lambda _: None, after_epoch=1)
    expected = [trial.intermediate_values for trial in whole.optuna_study().trials]
    damages: list[tuple[Callable[[Path], object], int, list[str]]] = [
        (zero_half, 1, ["preempted", "complete"]),
        (truncate, 2, ["complete"]),
        (shutil.rmtree, 1, ["complete"]),
    ]
    for index, (damage, after_epoch, endings) in enumerate(damages):
        mended = work(settings, tmp_path / f"{index}", damage, after_epoch=after_epoch)
        trials = mended.optuna_study().trials
        assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
        assert [trial.intermediate_values for trial in trials] == expected
        first = trials[0]._trial_id
        assert read_endings(mended.storage_handle.database, [first]) == {first: endings}
