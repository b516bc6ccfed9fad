"""Histories of a study: runs that stop or die, backups, restores, extensions, final runs.

Training is a fake whose scores and weights follow from what it is asked to train, so whatever is
attributed to other hyperparameters shows. Database, queue, checkpoints and test are real.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import FrozenTrial, TrialState

from data.image_cache import PreparedData
from model.evaluation import Metrics
from model.seeds import derive_seed
from model.training_state import EpochResult, TrainingState
from storage.budget import Budget
from storage.checkpoints import file_sha256, load_checkpoint
from storage.errors import StorageError
from storage.leases import LOST, Lease, end, held_leases
from storage.records import (
    read_epochs,
)
from storage.test_evaluations import (
    read_tests,
)
from study.configuration.config import Request, validated
from study.creation.create import initialise
from study.creation.extend import extend_budget
from study.errors import StudyError
from study.final.final_run import open_final, run_final
from study.final.queued_runs import FIRST_REASON
from study.final.unknown_test_results import FORGOTTEN
from study.session.session import StudySession, open_session
from study.session.winner import choose_winner
from study.stop_signal import StopFlag, StopRequested
from study.trial import objective, trial_training
from study.trial.epoch_sinks import ReportAndPrune
from study.trial.samplers import build_sampler
from study.workers.worker import Worker
from tests.tools.backups import copy_database

Settings = dict[str, Any]
SEED = 42
NAME = "tiny"
SLOW_VIEWS = (
    "final.test_files.save_png",
    "final.test_files.write_test",
    "creation.create.note_study",
    "creation.extend.note_study",
    "workers.worker.note_trial",
    "final.final_run.note_test",
)


class KilledError(BaseException):
    """The process died here."""


def score(learning_rate: float, weight_decay: float, seed: int, epoch: int) -> float:
    """Return what the fake training achieves."""
    text = repr((learning_rate, weight_decay, seed, epoch))
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 16**8


class World:
    """One study, what happens to it, and what must then hold.

    Args:
        settings: Of the study.
        patch: Puts the fakes in place.
    """

    def __init__(self, settings: Settings, patch: pytest.MonkeyPatch) -> None:
        config = validated(deepcopy(settings))
        self.database = Path(config.storage.url.removeprefix("sqlite:///"))
        self.place = {"storage.url": config.storage.url, "storage.runs": str(config.storage.runs)}
        self.backups: list[Path] = []
        self.n_restored = 0
        self.n_opened = 0
        self.results: dict[Path, bytes] = {}
        self._left = 0
        self._dies = False
        self._put_fakes_in_place(patch)
        self.handle = initialise(config).storage_handle

    def _put_fakes_in_place(self, patch: pytest.MonkeyPatch) -> None:
        world, opening = self, PreparedData.test

        class Report(ReportAndPrune):
            def __call__(self, result: EpochResult, state: TrainingState) -> None:
                if world._left == 0 and world._dies:
                    raise KilledError
                super().__call__(result, state)

        def counted(prepared: PreparedData) -> Any:
            world.n_opened += 1
            return opening(prepared)

        def forbidden(prepared: PreparedData) -> Any:
            raise AssertionError("only a confirmation opens the confirmation images")

        class Silent:
            def __init__(self, *_: object, **__: object) -> None: ...
            def write(self, *_: object) -> None: ...
            def write_row(self, *_: object) -> None: ...
            def close(self) -> None: ...

        for view in SLOW_VIEWS:
            patch.setattr(f"study.{view}", lambda *_, **__: None)
        patch.setattr(PreparedData, "test", counted)
        patch.setattr(PreparedData, "confirmation", forbidden)
        patch.setattr(objective, "ReportAndPrune", Report)
        patch.setattr(objective, "TensorBoardLog", Silent)
        patch.setattr(trial_training, "train_epochs", self._train)
        # Another history draws other hyperparameters, as when other workers finish first.
        patch.setattr(
            "study.workers.worker.build_sampler",
            lambda search, *, seed, number: build_sampler(
                search, seed=seed + self.n_restored, number=number
            ),
        )

    def _train(
        self, state: TrainingState, *_: object, n_epochs: int, seed: int, **__: object
    ) -> Iterator[EpochResult]:
        while state.epochs_done < n_epochs:
            if self._left == 0:
                raise StopRequested
            self._left -= 1
            epoch, chosen = state.epochs_done + 1, state.optimization
            found = score(chosen.learning_rate, chosen.weight_decay, seed, epoch)
            metrics = Metrics(loss=1.0, accuracy=found, top5_accuracy=1.0, macro_f1=found)
            with torch.no_grad():
                for weights in state.network.parameters():
                    weights.fill_(found)
            result = EpochResult(epoch, metrics, metrics, 0.1, 1.0, 1.0, 1.0)
            state.history.append(result)
            yield result

    def do(self, step: Callable[["World"], None]) -> None:
        """Take a step, which may be rejected, and check what must hold."""
        with suppress(StudyError, StorageError):
            step(self)
        self.check()

    @contextmanager
    def opened(self, name: str = NAME) -> Iterator[StudySession]:
        session = open_session(Request(options=self.place), name)
        try:
            yield session
        finally:
            session.storage_handle.remove_session()
            session.storage_handle.engine.dispose()

    def close(self) -> None:
        self.handle.remove_session()
        self.handle.engine.dispose()

    def back_up(self) -> None:
        self.backups.append(self.database.with_name(f"backup-{len(self.backups)}.db"))
        copy_database(self.database, self.backups[-1])

    def restore(self, backup: int) -> None:
        if self.backups:
            copy_database(self.backups[backup % len(self.backups)], self.database)
            self.n_restored += 1

    def extend(self) -> None:
        with self.opened() as session:
            extend_budget(session, Budget("trials", 1))

    def run(self, n_epochs: int, *, dies: bool = False) -> None:
        """Work for so many epochs; a worker that dies has saved the last, but not reported it."""
        with self.opened() as session, self._working(n_epochs, dies=dies) as stop:
            Worker(session, session.prepare_data(), stop=stop, announce=lambda *_: None).work()

    def final(self, n_epochs: int, *, dies: bool = False, reopen: str | None = None) -> None:
        """Train the winner and test it; another test than the first needs a reason."""
        before = self.n_opened
        with self.opened() as session, self._working(n_epochs, dies=dies) as stop:
            winner = choose_winner(session)
            final = open_final(session, winner, reopen=reopen)
            run_final(final, final.prepare_data(), stop=stop, announce=lambda *_: None)
        if self.n_opened > before:
            newest = read_tests(self.handle.database, NAME)[-1]
            assert self.n_opened == before + 1
            assert before == 0 or newest.reason not in (FIRST_REASON, FORGOTTEN)

    @contextmanager
    def _working(self, n_epochs: int, *, dies: bool) -> Iterator[StopFlag]:
        self._left, self._dies = n_epochs, dies
        world = self

        class Stop(StopFlag):
            @property
            def is_set(self) -> bool:
                return world._left == 0

        try:
            with suppress(KilledError):
                yield Stop()
        finally:
            database = self.handle.database
            for held in held_leases(database).values():  # their process is this one, and lives
                end(database, Lease(held.trial_id, held.owner, held.attempt), LOST)

    def check(self) -> None:
        """Check that every value was trained with what it is attributed to."""
        for study in self.handle.get_all_studies():
            kind = "trial" if study.study_name == NAME else "final"
            for trial in self.handle.get_all_trials(study._study_id):
                self._check_trial(trial, kind)
        for path, content in self.results.items():
            assert path.read_bytes() == content
        for path in Path(self.place["storage.runs"], NAME).glob("final*/metrics.json"):
            self.results.setdefault(path, path.read_bytes())
            self._check_result(path)

    def _check_trial(self, trial: FrozenTrial, kind: str) -> None:
        if trial.state == TrialState.FAIL:
            assert trial.user_attrs["reason"]["kind"] == "forgotten"
        seed = derive_seed(SEED, kind, trial.user_attrs["slot"])
        rows = read_epochs(self.handle.database, [trial._trial_id]).get(trial._trial_id, [])
        recorded = {row.epoch: row.validation_macro_f1 for row in rows}
        assert recorded == trial.intermediate_values
        for epoch, value in recorded.items():
            assert value == expected(trial.params, seed, epoch)
        if trial.state == TrialState.COMPLETE:
            assert trial.value == max(recorded.values())

    def _check_result(self, path: Path) -> None:
        metrics = json.loads(path.read_text())
        best = path.with_name("best.pt")
        assert metrics["checkpoint_sha256"] == file_sha256(best)
        seed = derive_seed(SEED, "final", metrics["slot"])
        assert metrics["seed"] == seed
        found = expected(metrics["hyperparameters"], seed, metrics["best_epoch"])
        weights = load_checkpoint(best)["network"]["head.weight"]
        assert torch.equal(weights, torch.full_like(weights, found))


def expected(params: Mapping[str, Any], seed: int, epoch: int) -> float:
    """Return what training with these hyperparameters achieves."""
    return score(
        params["optimization.learning_rate"], params["optimization.weight_decay"], seed, epoch
    )
