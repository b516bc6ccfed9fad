"""Notes and links to files that optuna-dashboard shows, written as the study runs.

A note repeats what is stored elsewhere: where it cannot be written there is a warning, and nothing
else fails.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from optuna.artifacts import ArtifactMeta
from optuna.trial import FrozenTrial

from dashboards.analysis.confirmation.reading import read_confirmation
from dashboards.errors import DashboardError
from dashboards.formatting import setting_name, shown_range
from dashboards.optuna_dashboard.artifacts import links_to
from dashboards.optuna_dashboard.notes import render_study_note, render_trial_note
from storage.configuration import StorageConfig
from storage.dashboard_notes import write_note
from storage.database import is_transient
from storage.errors import LeaseLostError, StorageError, StudyNotFoundError
from storage.leases import Heartbeat
from storage.records import read_protocol, study_names
from storage.run_paths import TrialPaths
from storage.trial_rows import TrialRow, read_some, read_trials
from study.configuration.config import validated
from study.configuration.sections import SearchConfig
from study.configuration.stored_settings import completed
from study.session.location import Location
from study.session.session import StudySession, bind

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""How long a command that needs no database retries to write into the notes of its studies."""


def note_trial(
    session: StudySession,
    heartbeat: Heartbeat,
    trial_id: int,
    *,
    state: str,
    reason: dict[str, str] | None,
) -> None:
    """Write the note of a trial that is about to finish, and link its files.

    Idempotent: a worker that reclaims the trial writes the same again.

    Args:
        session: The study.
        heartbeat: Holds the lease.
        trial_id: Optuna's row number.
        state: In which it finishes: complete, pruned or failed.
        reason: Why it ended early, with `kind` and `message`; None for what it noted itself.

    Raises:
        LeaseLostError: If another worker has reclaimed the trial.
    """
    with _warning(f"the note of trial row {trial_id}"):
        (row,) = read_some(session.storage_handle, [trial_id])
        row = replace(row, state=state, reason=reason or row.reason)
        paths = _paths_of(session, row)
        body = render_trial_note(row, paths, n_epochs=session.config.search.n_epochs)
        _write(session, heartbeat, trial_id, body, [paths.configuration, paths.epochs])


def note_finished_trials(session: StudySession, trial_ids: Sequence[int]) -> None:
    """Write the notes of trials that were finished while they waited, which nobody holds."""
    database, study_id = session.storage_handle.database, session.optuna_study()._study_id
    for row in read_some(session.storage_handle, trial_ids):
        with _warning(f"the note of trial row {row.trial_id}"):
            paths = _paths_of(session, row)
            body = render_trial_note(row, paths, n_epochs=session.config.search.n_epochs)
            links = _links(session, [paths.configuration, paths.epochs])
            database.write(
                partial(
                    write_note,
                    study_id=study_id,
                    body=body,
                    links=links,
                    trial_id=row.trial_id,
                    finished=True,
                )
            )


def note_test(
    final: StudySession, heartbeat: Heartbeat, run: FrozenTrial, metrics: Mapping[str, Any]
) -> None:
    """Write the note of a final run again, with its test, and link the files of the test.

    Args:
        final: The queue of final runs.
        heartbeat: Holds the lease of the test.
        run: The run.
        metrics: Content of its `metrics.json`.
    """
    with _warning("the note of the final run"):
        (row,) = read_some(final.storage_handle, [run._trial_id])
        paths = _paths_of(final, row)
        n_epochs = final.config.search.n_epochs
        body = render_trial_note(row, paths, n_epochs=n_epochs, metrics=metrics)
        tables = [paths.confusion_csv, paths.per_class, paths.metrics]
        pictures = [paths.confusion_picture, paths.mistakes_picture]
        _write(final, heartbeat, row.trial_id, body, [*pictures, *tables], finished=True)


def note_study(session: StudySession) -> None:
    """Write the note of a study with all that is known of it, and link its figures."""
    name, paths, handle = session.protocol.study_name, session.paths, session.storage_handle
    with _warning(f"the note of study {name}"):
        search = session.config.search
        rows = read_trials(handle, name) if search.points else []
        space = describe_space(search)
        body = render_study_note(
            read_protocol(handle.database, name),
            paths,
            rows,
            space=space,
            confirmation=read_confirmation(handle, name),
        )
        figures = [paths.range_test.picture, paths.heat_map, paths.comparison]
        links = _links(session, figures if session.is_search else [])
        study_id = session.optuna_study()._study_id
        handle.database.write(lambda connection: write_note(connection, study_id, body, links))


def describe_space(search: SearchConfig) -> list[str]:
    """Return what a study searches, a text for each setting with its range or choices."""
    if search.points:
        return [f"{len(search.points)} given points"]
    return [f"{setting_name(key)} {shown_range(given)}" for key, given in search.searched.items()]


def note_studies_on(data_fingerprint: str, place: StorageConfig) -> None:
    """Write the notes of all studies on some data, about which something new is known.

    Args:
        data_fingerprint: Of the data.
        place: Database and runs folder; neither need exist, and the database may be away.
    """
    with Location(place, outage_seconds=PATIENCE_SECONDS) as location:
        try:
            _note_studies_on(data_fingerprint, location)
        except StudyNotFoundError:
            return
        except Exception as error:
            if not isinstance(error, StorageError) and not is_transient(error):
                raise
            logger.warning("the notes of studies stay as they are: %s", error)


def _note_studies_on(data_fingerprint: str, location: Location) -> None:
    handle = location.open()
    for name in study_names(handle.database):
        protocol = read_protocol(handle.database, name)
        configuration = validated(completed(protocol.configuration))
        session = bind(configuration, protocol, handle, location.config)
        is_here = session.paths.key() == protocol.study_key
        if is_here and protocol.facts["data_fingerprint"] == data_fingerprint:
            note_study(session)


def _paths_of(session: StudySession, row: TrialRow) -> TrialPaths:
    if row.slot is None:
        raise RuntimeError(f"trial {row.number} has no slot in the queue, so no worker runs it")
    return session.trial_paths(row.slot)


def _write(
    session: StudySession,
    heartbeat: Heartbeat,
    trial_id: int,
    body: str,
    files: Sequence[Path],
    *,
    finished: bool = False,
) -> None:
    """Write the note of a trial and link its files in one transaction, under its lease."""
    links, study_id = _links(session, files), session.optuna_study()._study_id
    heartbeat.within(
        lambda connection: write_note(
            connection, study_id, body, links, trial_id=trial_id, finished=finished
        )
    )


def _links(session: StudySession, files: Sequence[Path]) -> list[ArtifactMeta]:
    """Return links to files that exist; the folder of final runs has the searched study's key."""
    key = session.paths.key()
    return [] if key is None else links_to(key, session.paths.folder, files)


@contextmanager
def _warning(what: str) -> Iterator[None]:
    """Warn of what fails inside, save for what must stop a worker: a lost lease or database."""
    try:
        yield
    except LeaseLostError:
        raise
    except DashboardError as error:
        logger.warning("%s could not be written: %s", what, error)
    except Exception as error:
        if is_transient(error):
            raise
        logger.warning("%s could not be written", what, exc_info=True)
