"""Final runs that were queued together, as the report lists them: every seed, and a control.

Reads what the test evaluation has written; nothing here opens the test split.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboards.analysis.final_scores import describe_group
from dashboards.errors import DashboardError
from storage.final_groups import SEARCHED_TRIAL, role_of
from storage.run_paths import RunPaths, TrialPaths
from storage.test_evaluations import TestEvaluation
from storage.trial_rows import TrialRow


@dataclass(frozen=True)
class ListedRun:
    """One of the final runs that were queued together; what has not happened yet is None.

    Attributes:
        folder: Name of its folder.
        role: winner or control: whose configuration it trains.
        searched_trial: Number of the trial that it repeats.
        seed: Of its weights, order and augmentation.
        state: waiting, running, complete, pruned or failed.
        validation_macro_f1: The best so far.
        test_macro_f1: Of the test.
        test_accuracy: Likewise.
        is_first: Whether the study's model is its.
    """

    folder: str
    role: str
    searched_trial: int | None
    seed: int | None
    state: str
    validation_macro_f1: float | None
    test_macro_f1: float | None
    test_accuracy: float | None
    is_first: bool


def list_runs(
    rows: Sequence[TrialRow],
    tests: Mapping[int, TestEvaluation],
    paths: RunPaths,
    *,
    first: TrialRow,
) -> list[ListedRun]:
    """Return the runs of a group as they are listed.

    Args:
        rows: The runs, by slot.
        tests: Test evaluations by trial id.
        paths: Folders of the searched study.
        first: The run whose model is the study's.
    """
    found = []
    for row in rows:
        test = tests.get(row.trial_id)
        metrics = (test.metrics if test else None) or {}
        trial = row.attributes.get(SEARCHED_TRIAL)
        found.append(
            ListedRun(
                folder=paths.final(row.slot or 0).folder.name,
                role=role_of(row.attributes),
                searched_trial=trial if trial is None or trial >= 0 else None,
                seed=row.attributes.get("seed"),
                state=row.state,
                validation_macro_f1=row.value,
                test_macro_f1=metrics.get("macro_f1"),
                test_accuracy=metrics.get("accuracy"),
                is_first=row.trial_id == first.trial_id,
            )
        )
    return found


def read_group_lines(files: TrialPaths) -> list[str]:
    """Return what runs have shown together, in lines; none before their test.

    Args:
        files: Of the first run.

    Raises:
        DashboardError: If its metrics are damaged.
    """
    if not files.metrics.is_file():
        return []
    try:
        return describe_group(json.loads(files.metrics.read_bytes()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DashboardError(
            f"metrics of a final run must be a file that `study final` wrote, {files.metrics} is "
            f"not ({type(error).__name__}): restore it"
        ) from None
