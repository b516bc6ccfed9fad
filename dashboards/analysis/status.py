"""The status of a study: for people and for scripts (JSON).

Reads what it shows: of finished trials only sums, which the database makes. Must not import
torch: `study status` answers at once. `dashboards/terminal/status.py` draws it;
`status_schema.json` describes its JSON.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import TrialState

from dashboards.analysis.confirmation_status import ConfirmationStatus, read_confirmation_status
from dashboards.analysis.diagnosis.sentences import MOST_BEST, read_diagnosis
from dashboards.analysis.eta import (
    RunningTrial,
    newest_epoch_of,
    running_trial,
    seconds_per_epoch,
    seconds_remaining,
)
from dashboards.analysis.final_run_status import FinalRunStatus, read_final_run_statuses
from dashboards.analysis.spending import Spending, read_spending
from storage.attempts import Attempt, attempts_by_trial
from storage.records import read_protocol
from storage.study_storage import StudyStorage
from storage.study_totals import (
    best_ids,
    count_lost_attempts,
    newest_early_ids,
    newest_ended_progress,
    read_early_ends,
    read_totals,
    running_ids,
)
from storage.trial_rows import ALL_STATES, STATE_NAMES, TrialRow, read_some, reject_missing

BEST_KEYS = ("number", "slot", "value", "best_epoch", "epochs_done", "params", "host", "seconds")
N_NEWEST_ENDS = 3


@dataclass(frozen=True)
class ReasonCount:
    """How many pruned or failed trials ended for one kind of reason."""

    state: str
    kind: str
    count: int


@dataclass(frozen=True)
class EarlyEnd:
    """A trial that was pruned or has failed, and why."""

    number: int
    state: str
    epoch: int
    kind: str
    message: str


@dataclass(frozen=True)
class StudyStatus:
    """Counts of trials by state, the best one, and who is at work.

    Attributes:
        budget: Trials of the whole study, without those imported from another study; where the
            budget counts epochs or hours, those that have been queued so far.
        spending: What of the budget is spent, in its own unit.
        waiting: Trials for whose next epoch no decision is needed; paused ones are counted apart.
        taken_over: Imported finished trials; the counts by state leave them out.
        lost_attempts: How often a worker was lost with its trial.
        best: The complete trial of the highest value.
        running_trials: By number.
        reasons: Why trials were pruned or failed, the most frequent first.
        newest_early_ends: The last of them, the newest first.
        diagnosis: What the trials say about the search, in sentences.
        confirmation: Whether the winner holds up; None where nothing of it is queued.
        final_runs: By number.
        recorded_epochs: Epochs of all trials that this study ran.
        newest_epoch_at: About when the last of them was recorded, in seconds since 1970 by the
            database's clock; while its trial runs, early by what was spent besides epochs.
        images_per_second: Training images per second, summed over the active workers.
        epochs_per_hour: Likewise, from the duration of each one's newest epoch.
        seconds_spent: Time of all recorded epochs, summed over workers.
        seconds_remaining: Estimated time until the budget is spent with as many workers as run
            now (one if none does); None before the first epoch.
        read_at: When this was so, in seconds since 1970 by the database's clock.
    """

    study_name: str
    budget: int
    spending: Spending
    waiting: int
    paused: int
    running: int
    complete: int
    pruned: int
    failed: int
    taken_over: int
    lost_attempts: int
    best: TrialRow | None
    running_trials: tuple[RunningTrial, ...]
    reasons: tuple[ReasonCount, ...]
    newest_early_ends: tuple[EarlyEnd, ...]
    diagnosis: tuple[str, ...]
    confirmation: ConfirmationStatus | None
    final_runs: tuple[FinalRunStatus, ...]
    recorded_epochs: int
    newest_epoch_at: float | None
    images_per_second: float
    epochs_per_hour: float
    seconds_spent: float
    seconds_remaining: float | None
    read_at: float

    @property
    def done(self) -> int:
        """Trials that are over, however they ended."""
        return self.complete + self.pruned + self.failed

    @property
    def has_live_worker(self) -> bool:
        """Whether any running trial has a worker with a recent heartbeat."""
        return any(trial.is_alive for trial in self.running_trials)

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and no trial is left."""
        return not (self.running or self.has_claimable)

    @property
    def has_claimable(self) -> bool:
        """Whether a trial waits or is paused, or the budget lets another one begin."""
        grows = self.spending.unit != "trials" and not self.spending.is_spent
        return bool(self.waiting or self.paused or grows)

    @property
    def has_live_confirmation(self) -> bool:
        """Whether a worker with a recent heartbeat has a run of the confirmation."""
        return self.confirmation is not None and self.confirmation.has_live_worker

    @property
    def has_live_final_run(self) -> bool:
        """Whether a worker with a recent heartbeat has a final run."""
        return any(run.is_alive for run in self.final_runs)

    def as_json(self) -> dict[str, Any]:
        """Return the status as JSON values, the best trial without what its worker noted."""
        values = asdict(self)
        if self.best is not None:
            best = self.best.as_json()
            values["best"] = {key: best[key] for key in BEST_KEYS}
        return values


def read_status(storage: StudyStorage, study_name: str) -> StudyStatus:
    """Return the status of a study.

    Raises:
        StudyNotFoundError: If the database has no study of that name.
    """
    database = storage.database
    protocol = read_protocol(database, study_name)
    reject_missing(storage, study_name)
    totals = read_totals(database, study_name)
    own = [one for one in totals if not one.is_imported]
    rows = read_some(storage, running_ids(database, study_name))
    attempts = attempts_by_trial(database, [row.trial_id for row in rows])
    last = {trial_id: some[-1] for trial_id, some in attempts.items()}
    now = database.read(database.now)
    n_epochs = int(protocol.configuration["search"]["n_epochs"])
    usual = seconds_per_epoch(totals)
    running = tuple(
        running_trial(
            row, attempts.get(row.trial_id, []), n_epochs=n_epochs, now=now, usual_pace=usual
        )
        for row in rows
    )
    alive = [trial for trial in running if trial.is_alive]
    counts = {one.state_name: one.n_trials for one in own}
    spending = read_spending(protocol, totals)
    early = read_early_ends(database, study_name)
    ids = best_ids(database, study_name, MOST_BEST, complete=True)
    best = read_some(storage, ids[:1])
    return StudyStatus(
        study_name=study_name,
        budget=protocol.budget,
        spending=spending,
        **{state: counts.get(state, 0) for state in ALL_STATES},
        taken_over=sum(one.n_trials for one in totals if one.is_imported),
        lost_attempts=count_lost_attempts(database, study_name),
        best=best[0] if best else None,
        running_trials=running,
        reasons=_reasons(early),
        newest_early_ends=_newest_early_ends(storage, study_name),
        diagnosis=read_diagnosis(database, protocol, totals=totals, early=early, best=ids),
        confirmation=read_confirmation_status(storage, study_name, now=now),
        final_runs=read_final_run_statuses(storage, study_name, now=now),
        recorded_epochs=sum(one.n_epochs for one in own),
        newest_epoch_at=max(
            _progress(rows, last, newest_ended_progress(database, study_name)), default=None
        ),
        images_per_second=sum((trial.images_per_second or 0.0 for trial in alive), 0.0),
        epochs_per_hour=sum(
            (3600 / trial.epoch_seconds for trial in alive if trial.epoch_seconds), 0.0
        ),
        seconds_spent=sum((one.seconds for one in own), 0.0),
        seconds_remaining=seconds_remaining(
            totals, spending, n_epochs=n_epochs, n_workers=len(alive)
        ),
        read_at=now,
    )


def _progress(
    running: Sequence[TrialRow], last: Mapping[int, Attempt], ended: float | None
) -> Iterator[float]:
    """Yield when the newest epoch of an ended attempt was trained, and of each that runs."""
    if ended is not None:
        yield ended
    for row in running:
        attempt = last.get(row.trial_id)
        if attempt is not None and row.epochs_done > attempt.epochs_at_start:
            yield newest_epoch_of(row, attempt)


def _reason(reason: Mapping[str, str] | None) -> tuple[str, str]:
    """Return kind and message of an early end; a trial killed by other means has neither."""
    reason = reason or {"kind": "unknown", "message": "no reason was recorded"}
    return reason["kind"], reason["message"]


def _reasons(
    early: Sequence[tuple[TrialState, Mapping[str, str] | None]],
) -> tuple[ReasonCount, ...]:
    counts = Counter((STATE_NAMES[state], _reason(reason)[0]) for state, reason in early)
    return tuple(ReasonCount(*key, count) for key, count in counts.most_common())


def _newest_early_ends(storage: StudyStorage, study_name: str) -> tuple[EarlyEnd, ...]:
    ids = newest_early_ids(storage.database, study_name, N_NEWEST_ENDS)
    rows = read_some(storage, ids)
    return tuple(
        EarlyEnd(row.number, row.state, row.epochs_done, *_reason(row.reason)) for row in rows
    )
