"""Which run of which study trained the files of a run folder.

A database that came back from a backup draws other hyperparameters for slots whose folders are
filled already. Their files are neither resumed nor tested, whatever their names say.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial

from model.seeds import derive_seed
from storage.checkpoints import load_checkpoint, load_newest
from storage.errors import CheckpointError
from storage.optuna_rows import SLOT
from storage.records import read_epochs
from storage.run_paths import TrialPaths
from study.configuration.config import StudyConfig
from study.configuration.fixed_trial import FixedTrial
from study.configuration.points import configured_by
from study.configuration.stored_settings import completed, frozen_part
from study.session.protocol import Difference, differences
from study.session.session import StudySession

logger = logging.getLogger(__name__)

Saved = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """What tells a run from every other one, beside its configuration.

    Attributes:
        study_key: Key of the study, or of the queue of its final runs.
        slot: Its position in the queue.
        seed: Seed of its weights, order and augmentation.
        data_fingerprint: Of the images.
    """

    study_key: str
    slot: int
    seed: int
    data_fingerprint: str


@dataclass(frozen=True)
class Identity:
    """A run, and the resolved configuration that it trains with, hyperparameters in place."""

    run: Run
    configuration: StudyConfig

    @classmethod
    def of(cls, session: StudySession, configuration: StudyConfig, slot: int) -> "Identity":
        """Return the identity of a trial.

        Args:
            session: Its study.
            configuration: Of the trial.
            slot: Its position in the queue.
        """
        protocol = session.protocol
        seed = _run_seed(session, configuration.seed, slot)
        run = Run(protocol.study_key, slot, seed, protocol.data_fingerprint)
        return cls(run, configuration)

    @classmethod
    def of_trial(cls, session: StudySession, trial: FrozenTrial) -> "Identity":
        """Return the identity of a trial that has its hyperparameters.

        Raises:
            OutOfRangeError: If one is missing.
        """
        configuration, _ = configured_by(FixedTrial(trial.params), session.config)
        return cls.of(session, configuration, int(trial.user_attrs[SLOT]))

    def why_foreign(self, saved: Saved, n_recorded: int | None = None) -> str | None:
        """Return why a file is not this run's, None where it is.

        A file of an earlier version says less, and is compared by what it says.

        Args:
            saved: What the file holds.
            n_recorded: Number of epochs in the database. An epoch is saved first and recorded
                second, so a crash leaves one more in the file: with two, the database is of
                another history. None: not compared.
        """
        own = frozen_part(self.configuration)
        try:
            configuration = json.loads(saved["configuration"])
        except (ValueError, RecursionError):
            return "its configuration is damaged"
        stored = _only(completed(configuration), like=own)
        run = {key: saved.get(key, value) for key, value in asdict(self.run).items()}
        found = differences({**stored, "run": run}, {**own, "run": asdict(self.run)})
        if found:
            return str(found[0])
        n_saved = saved.get("epoch") or saved.get("state", {}).get("epochs_done", 0)
        if n_recorded is not None and n_saved > n_recorded + 1:
            return str(Difference("number of epochs", n_saved, n_recorded))
        return None


def _only(values: Mapping[str, Any], *, like: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of nested values whose keys another mapping has."""
    return {
        key: _only(value, like=like[key])
        if isinstance(value, Mapping) and isinstance(like[key], Mapping)
        else value
        for key, value in values.items()
        if key in like
    }


def final_seed(seed: int, slot: int) -> int:
    """Return the seed of a final run.

    Args:
        seed: Of its study.
        slot: Its position in the queue of final runs.
    """
    return derive_seed(seed, "final", slot)


def _run_seed(session: StudySession, seed: int, slot: int) -> int:
    """Return the seed of a run; given points share it, so that nothing else sets them apart."""
    if session.is_confirmation:
        return derive_seed(seed, "confirm", slot)
    if session.is_final:
        return final_seed(seed, slot)
    if session.config.search.space == "given":
        return derive_seed(seed, "given")
    return derive_seed(seed, "trial", slot)


def load_own(session: StudySession, trial_id: int, identity: Identity) -> Saved | None:
    """Return the newest checkpoint of a run; a folder with files of another one is set aside.

    Args:
        session: The study.
        trial_id: Optuna's row number of the trial, leased by this process.
        identity: Of the run.

    Raises:
        RunFolderError: If the folder cannot be renamed.
    """
    paths = session.trial_paths(identity.run.slot)
    newest = load_newest(paths)
    n_recorded = len(read_epochs(session.storage_handle.database, [trial_id]).get(trial_id, ()))
    for saved in _saved(paths, newest):
        reason = identity.why_foreign(saved, n_recorded)
        if reason is not None:
            aside = paths.set_aside()
            logger.warning(
                "%s held the files of another trial or history (%s): set aside as %s, the trial "
                "is trained anew",
                paths.folder,
                reason,
                aside.name,
            )
            return None
    return newest


def _saved(paths: TrialPaths, newest: Saved | None) -> Iterator[Saved]:
    if newest is not None:
        yield newest
    with suppress(CheckpointError):  # missing, or damaged
        yield load_checkpoint(paths.best)
    if paths.configuration.is_file():
        yield {"configuration": paths.configuration.read_text()}
