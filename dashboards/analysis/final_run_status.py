"""The final runs of a study: how far each is, and what its test has shown.

Must not import torch.
"""

from dataclasses import dataclass

from dashboards.analysis.eta import is_alive, running_trial, seconds_per_epoch
from storage.attempts import attempts_by_trial
from storage.final_groups import first_runs, role_of
from storage.records import (
    find_protocol,
)
from storage.study_names import FINAL_SUFFIX
from storage.study_storage import StudyStorage
from storage.study_totals import own_ids, read_totals
from storage.test_evaluations import (
    read_tests,
)
from storage.trial_rows import read_some


@dataclass(frozen=True)
class FinalRunStatus:
    """A final run of the study: how far it is, and what its test has shown.

    Attributes:
        number: 1 for the first.
        is_first: Whether the model of those that were queued together is its.
        role: winner or control: whose configuration it trains.
        seed: Of its weights, order and augmentation; None of an early version's that waits.
        searched_trial: Number of the trial that it repeats; None where it is not known.
        state: waiting, running, complete, pruned or failed; final runs do not pause.
        host: Machine of the worker that has it, None while none has.
        pid: Its process, likewise.
        beat_age_seconds: Time since its last heartbeat, likewise.
        epoch: Epochs done; n_epochs is all of them.
        validation_macro_f1: The best so far.
        seconds_left: Estimated time until it has all its epochs, as of a running trial.
        test_macro_f1: Of its test evaluation; None before that.
        test_accuracy: Likewise.
    """

    number: int
    is_first: bool
    role: str
    seed: int | None
    searched_trial: int | None
    state: str
    host: str | None
    pid: int | None
    beat_age_seconds: float | None
    epoch: int
    n_epochs: int
    validation_macro_f1: float | None
    seconds_left: float | None
    test_macro_f1: float | None
    test_accuracy: float | None

    @property
    def is_alive(self) -> bool:
        """Whether a worker with a recent heartbeat has it."""
        return is_alive(self.beat_age_seconds)


def read_final_run_statuses(
    storage: StudyStorage, study_name: str, *, now: float
) -> tuple[FinalRunStatus, ...]:
    """Return the final runs of a searched study; none of what is a queue of final runs itself."""
    database, name = storage.database, study_name + FINAL_SUFFIX
    protocol = find_protocol(database, name)
    if protocol is None:
        return ()
    rows = read_some(storage, own_ids(database, name))
    attempts = attempts_by_trial(database, [row.trial_id for row in rows])
    tests = {test.trial_id: test.metrics or {} for test in read_tests(database, study_name)}
    n_epochs, pace = (
        int(protocol.configuration["search"]["n_epochs"]),
        seconds_per_epoch(read_totals(database, name)),
    )
    found, first = [], {row.trial_id for row in first_runs(rows)}
    for number, row in enumerate(rows, start=1):
        mine, metrics = attempts.get(row.trial_id, []), tests.get(row.trial_id, {})
        now_running = running_trial(row, mine, n_epochs=n_epochs, now=now, usual_pace=pace)
        found.append(
            FinalRunStatus(
                number=number,
                is_first=row.trial_id in first,
                role=role_of(row.attributes),
                seed=row.attributes.get("seed"),
                searched_trial=row.attributes.get("searched_trial"),
                state=row.state,
                host=now_running.host,
                pid=now_running.pid,
                beat_age_seconds=now_running.beat_age_seconds,
                epoch=row.epochs_done,
                n_epochs=n_epochs,
                validation_macro_f1=row.value,
                seconds_left=now_running.seconds_left,
                test_macro_f1=metrics.get("macro_f1"),
                test_accuracy=metrics.get("accuracy"),
            )
        )
    return tuple(found)
