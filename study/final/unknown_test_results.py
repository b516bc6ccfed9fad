"""Test results in the runs folder that the database has no claim of.

A database that came back from a backup has forgotten the final runs after it. Their results still
say that the test split was opened: whoever opens it again gives a reason, and gets another folder.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from optuna.trial import TrialState

from storage.run_paths import TrialPaths
from storage.study_totals import read_slots
from storage.test_evaluations import (
    TestEvaluation,
    claim_tests,
    finish_tests,
    read_tests,
)
from study.creation.queue import Point
from study.errors import ProtocolError
from study.session.session import StudySession, final_name

FORGOTTEN = "its test result was found after the database had come back from a backup"
REASON = {"kind": "forgotten", "message": FORGOTTEN}


def forgotten_tests(session: StudySession) -> dict[int, TrialPaths]:
    """Return the files of final runs whose test the database does not know, by slot.

    Args:
        session: The study, or its final runs.
    """
    database, name = session.storage_handle.database, session.searched_name
    tested = {test.trial_id for test in read_tests(database, name)}
    runs = read_slots(database, final_name(name))
    claimed = {run.slot for run in runs if run.trial_id in tested}
    return {
        slot: files
        for slot, files in session.paths.final_folders().items()
        if files.metrics.is_file() and slot not in claimed
    }


def reject_forgotten(forgotten: Mapping[int, TrialPaths]) -> None:
    """Reject a test while there are results that the database has no claim of.

    Raises:
        ProtocolError: If there are any.
    """
    for files in forgotten.values():
        raise ProtocolError(
            f"the test split must be opened once, {files.metrics} holds a result that the "
            "database does not know, as after its return from a backup: keep that result, or add "
            "`--reopen REASON` for another final run beside it"
        )


def forgotten_slots(forgotten: Mapping[int, TrialPaths]) -> list[Point]:
    """Return the slots of a queue, closed, up to the last one that the database forgot."""
    return [_place(forgotten.get(slot)) for slot in range(max(forgotten, default=-1) + 1)]


def _place(files: TrialPaths | None) -> Point:
    searched_trial = -1 if files is None else _searched_trial(_metrics(files))
    attributes = {"searched_trial": searched_trial, "test_reason": FORGOTTEN, "reason": REASON}
    return Point({}, attributes, TrialState.FAIL)


def remember_tests(final: StudySession, forgotten: Mapping[int, TrialPaths]) -> None:
    """Claim the tests whose results were found, and end the runs that would take them again.

    Args:
        final: The queue of final runs; each forgotten one has a place.
        forgotten: Files by slot.
    """
    handle = final.storage_handle
    claims: dict[int, list[TestEvaluation]] = defaultdict(list)
    results = {}
    for run in final.slots():
        files = forgotten.get(run.slot)
        if files is None:
            continue
        if not run.state.is_finished():
            handle.set_trial_user_attr(run.trial_id, "reason", REASON)
            handle.set_trial_state_values(run.trial_id, TrialState.FAIL)
        metrics = _metrics(files)
        claim = TestEvaluation(
            trial_id=run.trial_id,
            study_name=final.searched_name,
            searched_trial=_searched_trial(metrics),
            reason=FORGOTTEN,
            checkpoint_sha256=metrics.get("checkpoint_sha256", ""),
        )
        claims[metrics.get("first_slot", run.slot)].append(claim)
        results[run.trial_id] = metrics.get("test", {})
    for together in claims.values():
        claim_tests(handle.database, together)
    finish_tests(handle.database, results)


def _metrics(files: TrialPaths) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(files.metrics.read_text())
    return values


def _searched_trial(metrics: Mapping[str, Any]) -> int:
    return int(metrics.get("searched_trial", -1))
