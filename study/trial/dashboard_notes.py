"""What optuna-dashboard shows beside numbers, written as the study runs.

A note says what is known anyway: where it cannot be written there is a warning, and nothing else
fails. Pictures are drawn before a trial is told, for a finished one takes no more artifacts.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from dashboards.errors import DashboardError
from dashboards.optuna_dashboard.artifacts import links_to
from dashboards.optuna_dashboard.curve_picture import curve_svg
from dashboards.optuna_dashboard.notes import study_note, trial_note
from storage import dashboard_notes as stored
from storage.configuration import StorageConfig
from storage.dashboard_notes import FileLink
from storage.database import is_transient
from storage.errors import (
    LeaseLostError,
    RunFolderError,
    StorageError,
    StudyNotFoundError,
)
from storage.leases import Heartbeat
from storage.records import read_epochs, read_protocol, study_names
from storage.run_paths import TrialPaths, write_atomically
from storage.study_storage import open_study_storage
from storage.trial_rows import TrialRow, read_some, read_trials
from study.configuration.config import SearchConfig, validated
from study.configuration.search_space import DEFAULT_LEARNING_RATES, SPACES
from study.configuration.stored_settings import completed
from study.session.session import StudySession, bind

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""How long a command that needs no database waits for it, to write what it has found there too."""


@dataclass(frozen=True)
class Ended:
    """How a trial ends that the database still has as running.

    Attributes:
        state: complete, pruned or failed.
        reason: Why it ended early, with `kind` and `message`; None for what it noted itself.
    """

    state: str
    reason: dict[str, str] | None


def note_trial(session: StudySession, heartbeat: Heartbeat, trial_id: int, ended: Ended) -> None:
    """Write the note of a trial that is about to be told, and link its files.

    Done again by a worker that takes the trial over, it leaves the same.

    Args:
        session: The study.
        heartbeat: Holds the lease.
        trial_id: Optuna's row number.
        ended: How it ends.

    Raises:
        LeaseLostError: If another worker has taken the trial over.
        RunFolderError: If its curve cannot be written.
    """
    with _warning(f"the note of trial row {trial_id}"):
        (row,) = read_some(session.storage_handle, [trial_id])
        row = replace(row, state=ended.state, reason=ended.reason or row.reason)
        paths = _paths_of(session, row)
        files = [paths.configuration]
        if _draw_curve(session, trial_id, paths):
            files.append(paths.curve)
        body = trial_note(row, paths, n_epochs=session.config.search.n_epochs)
        links = _links(session, files)
        study_id = session.optuna_study()._study_id
        heartbeat.within(
            lambda connection: stored.note_trial(connection, study_id, trial_id, body, links)
        )


def note_test(
    final: StudySession, heartbeat: Heartbeat, run: FrozenTrial, metrics: dict[str, Any]
) -> None:
    """Write the note of a final run again, with its test, and link what the test left.

    Args:
        final: The queue of final runs.
        heartbeat: Holds the lease of the test.
        run: The run.
        metrics: What its `metrics.json` holds.
    """
    with _warning("the note of the final run"):
        (row,) = read_some(final.storage_handle, [run._trial_id])
        paths = _paths_of(final, row)
        n_epochs = final.config.search.n_epochs
        body = trial_note(row, paths, n_epochs=n_epochs, metrics=metrics)
        files = [
            paths.confusion_picture,
            paths.confusion_csv,
            paths.per_class,
            paths.mistakes_picture,
            paths.metrics,
        ]
        links = _links(final, files)
        study_id = final.optuna_study()._study_id
        heartbeat.within(
            lambda connection: stored.note_trial(
                connection, study_id, row.trial_id, body, links, finished=True
            )
        )


def note_study(session: StudySession) -> None:
    """Write the note of a study, of all that is known of it by now, and link its figures."""
    name, paths = session.protocol.study_name, session.paths
    with _warning(f"the note of study {name}"):
        handle = session.storage_handle
        given = session.config.search.space == "given"
        rows = read_trials(handle, name) if given else []
        protocol, config = read_protocol(handle.database, name), session.config
        space = shown_space(config.search, optimizer=config.optimization.optimizer)
        body = study_note(protocol, paths, rows, space=space)
        figures = [paths.range_test.picture, paths.heat_map, paths.comparison]
        links = _links(session, [] if session.is_final else figures)
        study_id = session.optuna_study()._study_id
        handle.database.write(
            lambda connection: stored.note_study(connection, study_id, body, links)
        )


def shown_space(search: SearchConfig, *, optimizer: str) -> list[str]:
    """Return what a study searches, a text for each hyperparameter with its range."""
    if search.space == "given":
        return [f"{len(search.points)} given points"]
    ranges = {name: within for name, within in search.ranges if name in SPACES[search.space]}
    if "learning_rate" in ranges:
        ranges["learning_rate"] = ranges["learning_rate"] or DEFAULT_LEARNING_RATES[optimizer]
    return [
        f"{name.replace('_', ' ')} {within.low:g} to {within.high:g}"
        + (" (logarithmic)" if getattr(within, "log", False) else "")
        for name, within in ranges.items()
    ]


def note_studies_on(data_fingerprint: str, place: StorageConfig) -> None:
    """Write the notes of all studies on some data, about which something new is known.

    Args:
        data_fingerprint: Of the data.
        place: Database and runs folder; neither need exist, and the database may be away.
    """
    try:
        handle = open_study_storage(place.url, outage_seconds=PATIENCE_SECONDS)
    except StudyNotFoundError:
        return
    except StorageError as error:
        logger.warning("the notes of studies stay as they are: %s", error)
        return
    try:
        for name in study_names(handle.database):
            protocol = read_protocol(handle.database, name)
            session = bind(validated(completed(protocol.configuration)), protocol, handle, place)
            is_here = session.paths.key() == protocol.study_key
            if is_here and protocol.facts["data_fingerprint"] == data_fingerprint:
                note_study(session)
    except Exception as error:
        if not is_transient(error):
            raise
        logger.warning("the notes of studies stay as they are: %s", error)
    finally:
        handle.engine.dispose()


def _paths_of(session: StudySession, row: TrialRow) -> TrialPaths:
    if row.slot is None:
        raise RuntimeError(f"trial {row.number} has no place in the queue, so no worker runs it")
    return session.trial_paths(row.slot)


def _draw_curve(session: StudySession, trial_id: int, paths: TrialPaths) -> bool:
    """Draw the curve of a trial; return whether it has any.

    Raises:
        RunFolderError: If the disk is full or the folder cannot be written.
    """
    records = read_epochs(session.storage_handle.database, [trial_id]).get(trial_id)
    if not records:
        return False
    train = [record.train_macro_f1 for record in records]
    validation = [record.validation_macro_f1 for record in records]
    write_atomically(paths.curve, curve_svg(train, validation).encode())
    return True


def _links(session: StudySession, files: Sequence[Path]) -> list[FileLink]:
    """Return links to files that exist; the folder of final runs has the searched study's key."""
    key = session.paths.key()
    return [] if key is None else links_to(key, session.paths.folder, files)


@contextmanager
def _warning(what: str) -> Iterator[None]:
    """Warn of what fails inside, save for what must stop a worker: lease, folder or database."""
    try:
        yield
    except (LeaseLostError, RunFolderError):
        raise
    except DashboardError as error:
        logger.warning("%s could not be written: %s", what, error)
    except Exception as error:
        if is_transient(error):
            raise
        logger.warning("%s could not be written", what, exc_info=True)
