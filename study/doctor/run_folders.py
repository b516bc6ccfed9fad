"""What a crash can leave below the runs folder.

The caller holds the init lock, so that no queue grows meanwhile. Nothing is removed from a folder
whose marker does not name the study.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import suppress
from pathlib import Path

from optuna.trial import TrialState

from storage.atomic_files import PartFile, part_files, remove
from storage.checkpoints import load_checkpoint, superfluous_weights
from storage.errors import CheckpointError
from storage.leases import read_owners
from storage.process_identity import Owner, is_running
from storage.records import find_protocol, read_epochs, read_protocol, study_names
from storage.run_folder_deletion import given_up_folders
from storage.run_folders import claimed_folders
from storage.run_paths import RunPaths
from storage.study_storage import StudyStorage
from storage.study_totals import Slot
from study.configuration.fixed_trial import OutOfRangeError
from study.doctor.finding import Finding, count
from study.final.unknown_test_results import forgotten_tests
from study.session.session import StudySession
from study.trial.identity import Identity


def other_runs_folder(session: StudySession) -> Iterator[Finding]:
    """Find a run folder without the study's marker, which `init` writes last of all."""
    if session.paths.key() != session.protocol.study_key:
        what = f"is not the run folder of study {session.protocol.study_name}"
        remedy = "left alone; name the folder given at `study init` with --runs"
        yield Finding(str(session.paths.folder), what, remedy)


def is_claimed(session: StudySession) -> bool:
    """Return whether the run folder is that of the study, also for its final runs."""
    searched = find_protocol(session.storage_handle.database, session.searched_name)
    return searched is not None and session.paths.key() == searched.study_key


def folders_without_a_place(
    paths: RunPaths, slots: Set[int], confirmation: Set[int], final: Set[int]
) -> Iterator[Finding]:
    """Find run folders of trials, confirmation and final runs that no queue holds.

    Args:
        paths: The folders of the study.
        slots: Slots of its queue.
        confirmation: Slots of the queue of its confirmation.
        final: Slots of the queue of its final runs.
    """
    for there, queued in (
        (paths.trial_folders(), slots),
        (paths.confirmation_folders(), confirmation),
        (paths.final_folders(), final),
    ):
        for slot in sorted(there.keys() - queued):
            folder = there[slot].folder
            if not there[slot].metrics.exists():
                what = "a run folder without a slot in the queue"
                yield Finding(str(folder), what, "deleted", _removal([folder]))


def forgotten_results(session: StudySession) -> Iterator[Finding]:
    """Find test results that the database has no claim of."""
    for files in forgotten_tests(session).values():
        yield Finding(
            str(files.metrics),
            "a test result that the database does not know, as after its return from a backup",
            "left alone; `study final --reopen REASON` trains another run beside it",
        )


def weights_of_others(session: StudySession) -> Iterator[Finding]:
    """Find weights that are not those of the trial in whose folder they lie."""
    for trial in session.slots():
        paths = session.trial_paths(trial.slot)
        if trial.state == TrialState.FAIL:
            continue
        for path in superfluous_weights(paths, kept=False):
            reason = _why_foreign(session, trial, path)
            if reason is not None:
                what = f"weights of another trial or history ({reason})"
                remedy = "left alone; do not use them"
                if not trial.state.is_finished():
                    remedy = "left alone; set aside when the trial continues"
                yield Finding(str(path), what, remedy)


def _why_foreign(session: StudySession, trial: Slot, path: Path) -> str | None:
    try:
        saved = load_checkpoint(path)
        identity = Identity.of_trial(session, session.storage_handle.get_trial(trial.trial_id))
    except CheckpointError:  # gone meanwhile, or damaged
        return None
    except OutOfRangeError:
        return "the trial has no hyperparameters yet"
    # Counted after the file was read: a worker may be at it.
    records = read_epochs(session.storage_handle.database, [trial.trial_id])
    return identity.why_foreign(saved, len(records.get(trial.trial_id, ())))


def abandoned_parts(session: StudySession) -> Iterator[Finding]:
    """Find what dead processes were writing, in a study's run folder or its trials' folders."""
    grace_seconds = session.config.storage.grace_seconds
    parts: list[tuple[PartFile, Iterable[Owner]]] = []
    if session.is_search:
        parts += [(part, ()) for part in part_files(session.paths.folder, below=False)]
    trials = session.slots()
    owners = read_owners(session.storage_handle.database, [trial.trial_id for trial in trials])
    for trial in trials:
        folder = session.trial_paths(trial.slot).folder
        mine = owners.get(trial.trial_id, set())
        parts += [(part, mine) for part in part_files(folder, below=True)]
    for part, writers in parts:
        if _is_abandoned(part, writers, grace_seconds=grace_seconds):
            what = f"process {part.pid} died before it was written ({_size([part.path])})"
            yield Finding(str(part.path), what, "deleted", _removal([part.path]))


def _is_abandoned(part: PartFile, writers: Iterable[Owner], *, grace_seconds: float) -> bool:
    """Return whether the writer is dead, or stale for so long that nobody waits for it.

    The name tells the process but not its host; the attempts at the trial tell both.
    """
    if is_running(part.pid):
        return False
    suspects = [owner for owner in writers if owner.pid == part.pid]
    age_seconds = part.age_seconds
    is_known = bool(suspects) and all(
        owner.is_known_dead(heartbeat_age_seconds=age_seconds) for owner in suspects
    )
    return is_known or age_seconds > grace_seconds


def other_folders(handle: StudyStorage, runs: Path) -> Iterator[Finding]:
    """Find run folders of studies that the database does not have."""
    database = handle.database
    keys = {read_protocol(database, name).study_key for name in study_names(database)}
    left = given_up_folders(runs)
    for folder in left:
        name = folder.name.removeprefix(".").rsplit(".", 2)[0]
        what = "the rest of a study whose deletion was cut off"
        yield Finding(str(folder), what, f"left alone; `study delete --name {name}` removes it")
    for folder, key in claimed_folders(runs).items():
        if key not in keys and folder not in left:
            what = "the run folder of a study that this database does not have"
            yield Finding(str(folder), what, "left alone, for it may be another database's")


def _removal(paths: Iterable[Path]) -> Callable[[], bool]:
    def delete() -> bool:
        for path in paths:
            remove(path)
        return True

    return delete


def _size(files: Iterable[Path]) -> str:
    n_bytes = 0
    for file in files:
        with suppress(FileNotFoundError):
            n_bytes += file.stat().st_size
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e5 else count(n_bytes, "byte")
