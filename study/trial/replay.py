"""Trains a trial anew from its database record, and compares every epoch and the last weights.

Only reads: neither the database nor the run folder changes, and there is no checkpoint.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields

from optuna.trial import FrozenTrial

from data.image_cache import PreparedData, prepare
from data.split_writer import Track, no_progress
from model.device import set_threads
from model.errors import DivergedError
from model.training_state import EpochResult
from model.weight_digest import digest_weights
from storage.attempts import read_attempts
from storage.optuna_rows import LAST_WEIGHTS
from storage.own_study import own_trials
from storage.records import IMPORTED_FROM, EpochRecord, read_epochs
from storage.trial_rows import state_name
from study.errors import StudyError
from study.session.protocol import reject_missing_folder
from study.session.session import StudySession
from study.session.suggested_commands import suggest_command
from study.stop_signal import StopFlag
from study.trial.epoch_sinks import as_record
from study.trial.identity import Identity
from study.trial.provenance import (
    ProvenanceComparison,
    compare_provenance,
    provenance_here,
    recorded_provenance,
)
from study.trial.trial_training import TrialTraining

SHOWN_DIGITS = 12
TIMINGS = ("seconds", "images_per_second")
FIGURES = tuple(one.name for one in fields(EpochRecord) if one.name not in (*TIMINGS, "epoch"))


@dataclass(frozen=True)
class RecordedTrial:
    """A trial as the database has it.

    Attributes:
        trial: Optuna's row.
        epochs: Its epochs in order; at least one.
        identity: Its configuration and seed.
        other_hosts: Machines of attempts at it, save for that of the last.
    """

    trial: FrozenTrial
    epochs: Sequence[EpochRecord]
    identity: Identity
    other_hosts: Sequence[str]

    @property
    def last_weights(self) -> str | None:
        """SHA-256 of the weights after the last epoch, None where it is not recorded."""
        recorded = self.trial.user_attrs.get(LAST_WEIGHTS)
        # An attempt that was lost before its end may have left that of an earlier epoch.
        if recorded is None or recorded["epoch"] != self.epochs[-1].epoch:
            return None
        return str(recorded["sha256"])


@dataclass(frozen=True)
class Replay:
    """What training a trial anew has shown.

    Attributes:
        recorded: The trial.
        difference: Where it first differs from its record, None where it is bit-identical.
        weights: SHA-256 of the weights after the last recorded epoch; None before it.
        provenance: What else differs.
    """

    recorded: RecordedTrial
    difference: str | None
    weights: str | None
    provenance: ProvenanceComparison


def read_recorded_trial(session: StudySession, number: int) -> RecordedTrial:
    """Return a trial that can be trained anew.

    Raises:
        StudyError: If there is no such trial, if this study has not trained it, or if it has no
            epoch; the message says what to do.
    """
    trial = _find_trial(session, number)
    database = session.storage_handle.database
    epochs = read_epochs(database, [trial._trial_id]).get(trial._trial_id, [])
    if not epochs:
        raise StudyError(
            f"TRIAL must have a recorded epoch, trial {number} is {state_name(trial)} and "
            f"has none: {_listed(session)}"
        )
    hosts = [one.owner.host for one in read_attempts(database, [trial._trial_id])]
    others = sorted(set(hosts) - set(hosts[-1:]))
    return RecordedTrial(trial, epochs, Identity.of_trial(session, trial), others)


def _find_trial(session: StudySession, number: int) -> FrozenTrial:
    handle, name = session.storage_handle, session.protocol.study_name
    trials = handle.get_all_trials(handle.get_study_id_from_name(name), deepcopy=False)
    found = next((one for one in trials if one.number == number), None)
    if found is None:
        raise StudyError(
            f"TRIAL must be one of the {len(trials)} trials of study {name!r}, whose numbers "
            f"begin with 0, got {number}: {_listed(session)}"
        )
    if (origin := found.user_attrs.get(IMPORTED_FROM)) is not None:
        command = suggest_command(
            "replay",
            str(origin["trial"]),
            "--name",
            origin["study"],
            storage=session.config.storage,
        )
        raise StudyError(
            f"TRIAL must be one that study {name!r} trained, trial {number} is imported from "
            f"study {origin['study']!r}: repeat it there with `{command}`"
        )
    if found not in own_trials(trials):
        raise StudyError(
            f"TRIAL must be one that our workers trained, trial {number} is of another program, "
            f"whose seed nobody knows: {_listed(session)}"
        )
    return found


def _listed(session: StudySession) -> str:
    name = session.protocol.study_name
    command = suggest_command("trials", "--name", name, storage=session.config.storage)
    return f"`{command}` lists them"


def replay(
    session: StudySession,
    recorded: RecordedTrial,
    *,
    threads: int,
    stop: StopFlag,
    announce: Callable[[EpochResult], None],
    track: Track = no_progress,
) -> Replay:
    """Train a trial anew, until an epoch differs or all recorded ones are equal.

    Args:
        session: Its study, or the queue of its final runs; may be open for reading only.
        recorded: The trial.
        threads: CPU threads of one operation.
        stop: Polled at every batch.
        announce: Told the result of every epoch.
        track: Shows the progress of the decoding.

    Raises:
        ProtocolError: If the folder of the data is not there.
        StopRequested: If a stop signal came.
        TrainingError: If the configuration cannot be trained here.
    """
    reject_missing_folder(session.protocol, session.config)
    prepared = prepare(session.config.data, track=track)
    set_threads(threads)
    seed = recorded.identity.run.seed
    trained = TrialTraining(recorded.identity.configuration, prepared, seed=seed, stop=stop)
    difference, weights = _compare_epochs(trained, recorded, announce), None
    if difference is None:
        weights = digest_weights(trained.state)
        difference = _compare_weights(recorded, weights)
    return Replay(
        recorded, difference, weights, _compare_provenance(session, recorded, prepared, trained)
    )


def _compare_epochs(
    trained: TrialTraining, recorded: RecordedTrial, announce: Callable[[EpochResult], None]
) -> str | None:
    with closing(trained.epochs()) as epochs:
        for there in recorded.epochs:
            try:
                result = next(epochs, None)
            except DivergedError as error:
                return f"epoch {there.epoch}: trained to its end there, diverges here ({error})"
            if result is None:
                return f"epoch {there.epoch}: recorded there, the training is over before it here"
            announce(result)
            difference = find_difference(there, as_record(result))
            if difference is not None:
                return difference
    return None


def find_difference(there: EpochRecord, here: EpochRecord) -> str | None:
    """Return the first figure in which two records of an epoch differ, with both values.

    What was measured by the clock is not compared.
    """
    for name in FIGURES:
        old, new = getattr(there, name), getattr(here, name)
        if not _is_same(old, new):
            return f"epoch {there.epoch}: {name} is {old!r} there, {new!r} here"
    return None


def _is_same(old: float | None, new: float) -> bool:
    # SQLite stores what is no number as NULL.
    is_none = old is None or math.isnan(old)
    return math.isnan(new) if is_none else old == new


def _compare_weights(recorded: RecordedTrial, here: str) -> str | None:
    there = recorded.last_weights
    if there in (None, here):
        return None
    epoch = recorded.epochs[-1].epoch
    return f"weights after epoch {epoch}: their SHA-256 is {there} there, {here} here"


def _compare_provenance(
    session: StudySession,
    recorded: RecordedTrial,
    prepared: PreparedData,
    trained: TrialTraining,
) -> ProvenanceComparison:
    there = recorded_provenance(session, recorded.trial)
    seed = recorded.identity.run.seed
    here = provenance_here(prepared.fingerprint, seed, trained.state.execution)
    found = compare_provenance(there, here)
    if not recorded.other_hosts:
        return found
    several = f"earlier attempts at it on {', '.join(recorded.other_hosts)}"
    return ProvenanceComparison(found.different, [*found.unknown, several])


def describe_replay(found: Replay, name: str) -> Iterator[str]:
    """Yield lines that say what was found: the answer first, then what is different here.

    Args:
        found: What training the trial anew has shown.
        name: What the trial is called.
    """
    n_epochs = len(found.recorded.epochs)
    epochs = f"every figure of {n_epochs} {'epoch' if n_epochs == 1 else 'epochs'}"
    provenance = found.provenance
    different = "; ".join(map(str, provenance.different))
    if found.difference is not None:
        yield f"{name} differs from its record in {found.difference}"
        yield (
            f"different here: {different}"
            if different
            else "nothing that is recorded is different here: code, data, versions, seed, device, "
            "precision and threads are the same"
        )
        if provenance.unknown:
            yield f"not known: {', '.join(provenance.unknown)}"
        return
    if found.recorded.last_weights is None:
        yield f"{name} is bit-identical in {epochs}; the hash of its weights is not recorded"
    else:
        weights = str(found.weights)[:SHOWN_DIGITS]
        yield f"{name} is bit-identical: {epochs}, and the weights after the last ({weights}…)"
    if different:
        yield f"different here, without an effect: {different}"
