"""A small study, worked on by real processes and looked at from outside."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from storage.records import read_epochs
from storage.run_paths import RunPaths, TrialPaths
from storage.study_storage import StudyStorage, open_study_storage
from tests.tools.processes import ProcessServer, StartedProcess
from tests.tools.run_hash import run_sha256

Settings = Mapping[str, Any]
NAME = "small"


def small_settings(pictures: Path, cache: Path) -> dict[str, Any]:
    """Return a configuration whose trials do not depend on one another.

    A step takes about 4 ms and there are 240 pictures to train on, so `optimization.batch_size`
    sets how long an epoch takes: 16 for 60 ms, 4 for a quarter of a second, 1 for a second.
    """
    return {
        "name": NAME,
        "data": {"source": str(pictures), "image_size": 8, "cache": str(cache)},
        "network": {"widths": [4, 4, 8]},
        "optimization": {"batch_size": 16, "warmup_epochs": 0.5},
        "search": {
            "budget": {"trials": 1},
            "n_epochs": 4,
            "sampler": "random",
            "pruner": "none",
            "space": {
                "network.blocks": {"low": 1, "high": 1},
                "network.dropout": "default",
                "optimization.learning_rate": "default",
                "optimization.weight_decay": "default",
            },
        },
        "workers": {"threads": 1},
        "storage": {"heartbeat_seconds": 1.0, "outage_seconds": 120.0, "grace_seconds": 150.0},
    }


@contextmanager
def opened(url: str) -> Iterator[StudyStorage]:
    """Open a database, and close every connection to it afterwards."""
    handle = open_study_storage(url, outage_seconds=5)
    try:
        yield handle
    finally:
        handle.remove_session()
        handle.engine.dispose()


@dataclass(frozen=True)
class SmallStudy:
    """A study in a folder of its own.

    Attributes:
        processes: Starts the processes.
        folder: Of the configuration, the runs and what the processes say.
        url: Of the database.
        settings: The configuration, save for database and runs.
    """

    processes: ProcessServer
    folder: Path
    url: str
    settings: Settings

    def with_settings(self, **sections: Mapping[str, Any]) -> "SmallStudy":
        """Return the study with other values in some sections."""
        settings = deepcopy(dict(self.settings))
        for section, changes in sections.items():
            settings[section] = {**settings.get(section, {}), **changes}
        return replace(self, settings=settings)

    def straight(self) -> "SmallStudy":
        """Return the same study as one worker has run it on SQLite, with nothing in its way.

        Made once for equal settings: it lies beside the decoded images that the tests share.
        """
        decides = {name: part for name, part in self.settings.items() if name != "storage"}
        name = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]
        folder = Path(self.settings["data"]["cache"]).parent / f"straight-{name}"
        straight = replace(self, folder=folder, url=f"sqlite:///{folder}/study.db")
        if not folder.exists():
            folder.mkdir()
            straight.init().work()
        return straight

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return self.folder / "runs"

    def arguments(self, command: str, url: str | None = None) -> list[str]:
        """Return the command line of a command, by way of another address where one is given."""
        file = self.folder / "study.yaml"
        if not file.exists():
            file.write_text(yaml.safe_dump(dict(self.settings)))
        place = ["--storage", url or self.url, "--runs", str(self.runs)]
        return [command, "--config", str(file), *place]

    def init(self) -> "SmallStudy":
        """Create the study."""
        self.processes.run(*self.arguments("init"), folder=self.folder)
        return self

    def extend(self, n_more: int) -> None:
        """Add to the budget."""
        place = ["--storage", self.url, "--runs", str(self.runs), "--trials", str(n_more)]
        self.processes.run("extend", *place, folder=self.folder)

    def start_worker(self, *options: str, url: str | None = None) -> StartedProcess:
        """Start a worker."""
        return self.processes.start(*self.arguments("worker", url), *options, folder=self.folder)

    def work(self, *, seconds: float = 120) -> StartedProcess:
        """Start a worker and wait until it has left with exit code 0."""
        return self.processes.run(*self.arguments("worker"), folder=self.folder, seconds=seconds)

    def trials(self) -> list[FrozenTrial]:
        """Return Optuna's trials."""
        with opened(self.url) as handle:
            trials: list[FrozenTrial] = optuna.load_study(study_name=NAME, storage=handle).trials
            return trials

    def trial_paths(self, slot: int) -> TrialPaths:
        """Return the files of a place in the queue."""
        return RunPaths(self.runs, NAME).trial(slot)

    def run_sha256(self, slot: int) -> str:
        """Hash a finished trial."""
        return run_sha256(self.trial_paths(slot))

    def assert_whole(self, n_trials: int) -> None:
        """Check that each place of the budget is finished once, with every epoch, and no more."""
        n_epochs = self.settings["search"]["n_epochs"]
        epochs = list(range(1, n_epochs + 1))
        trials = self.trials()
        assert [trial.user_attrs["slot"] for trial in trials] == list(range(n_trials))
        with opened(self.url) as handle:
            records = read_epochs(handle.database, [trial._trial_id for trial in trials])
        for trial in trials:
            assert trial.state == TrialState.COMPLETE, (trial.number, trial.user_attrs)
            assert sorted(trial.intermediate_values) == epochs
            rows = records[trial._trial_id]
            assert {row.epoch: row.validation_macro_f1 for row in rows} == (
                trial.intermediate_values
            )
            assert trial.value == max(trial.intermediate_values.values())
        folders = sorted(path.name for path in (self.runs / NAME / "trials").iterdir())
        assert folders == [self.trial_paths(slot).folder.name for slot in range(n_trials)]


def epochs_said(*workers: StartedProcess) -> list[tuple[int, int]]:
    """Return trial and epoch of all that workers have announced, sorted."""
    return sorted(epoch for worker in workers for epoch in worker.epochs())
