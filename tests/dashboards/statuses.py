"""A status and trials that come from no database."""

from typing import Any

from dashboards.analysis.spending import Spending
from dashboards.analysis.status import EarlyEnd, ReasonCount, RunningTrial, StudyStatus
from storage.trial_rows import TrialRow


def example() -> StudyStatus:
    """Return the status of a study with one running, one failed and one waiting trial."""
    running = RunningTrial(
        number=4,
        host="node1",
        pid=123456,
        attempt=1,
        beat_age_seconds=2.0,
        epoch=1,
        n_epochs=20,
        validation_macro_f1=0.25,
        epoch_seconds=10.0,
        images_per_second=12_345.0,
        seconds_left=190.0,
    )
    return StudyStatus(
        study_name="pets",
        budget=3,
        spending=Spending("trials", 3, 1, is_spent=False),
        waiting=1,
        paused=0,
        running=1,
        complete=0,
        pruned=0,
        failed=1,
        taken_over=0,
        lost_attempts=0,
        best=None,
        running_trials=(running,),
        reasons=(ReasonCount("failed", "exception", 1),),
        newest_early_ends=(EarlyEnd(3, "failed", 2, "exception", "no memory"),),
        diagnosis=(),
        confirmation=None,
        final_runs=(),
        recorded_epochs=3,
        newest_epoch_at=1_000.0,
        images_per_second=12_345.0,
        epochs_per_hour=360.0,
        seconds_spent=30.0,
        seconds_remaining=400.0,
        read_at=1_010.0,
    )


def build_row(number: int, **known: Any) -> TrialRow:
    """Return a complete trial of which only this is known."""
    unknown = dict.fromkeys(("value", "best_epoch", "last_macro_f1", "reason", "host"))
    named = {"trial_id": number, "number": number, "slot": number, "state": "complete"}
    measured = {"epochs_done": 0, "seconds": 0.0, "params": {}, "attributes": {}}
    return TrialRow(**(unknown | named | measured | known))
