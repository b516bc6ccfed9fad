"""The confirmation of a study: how far its runs are, and what they have shown.

Must not import torch.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.analysis.confirmation.reading import Confirmation, read_confirmation
from dashboards.analysis.confirmation.sentences import sentences
from dashboards.analysis.confirmation.verdict import Verdict
from dashboards.analysis.eta import is_alive, running_trial, seconds_per_epoch
from storage.attempts import attempts_by_trial
from storage.records import read_protocol
from storage.study_names import CONFIRM_SUFFIX
from storage.study_storage import StudyStorage
from storage.study_totals import read_totals


@dataclass(frozen=True)
class ConfirmationRunStatus:
    """A run of the confirmation: what it trains, and how far it is.

    Attributes:
        number: 1 for the first.
        role: candidate in the first stage; winner or control in the second.
        searched_trial: Number of the trial whose setting it has; None where the control is none.
        state: waiting, running, complete, pruned or failed; these runs do not pause.
        host: Machine of the worker that has it, None while none has.
        pid: Its process, likewise.
        beat_age_seconds: Time since its last heartbeat, likewise.
        epoch: Epochs done; n_epochs is all of them.
        macro_f1: After its last epoch, on the images of its stage; None before that.
        seconds_left: Estimated time until it has all its epochs, as of a running trial.
    """

    number: int
    role: str
    searched_trial: int | None
    state: str
    host: str | None
    pid: int | None
    beat_age_seconds: float | None
    epoch: int
    n_epochs: int
    macro_f1: float | None
    seconds_left: float | None

    @property
    def is_alive(self) -> bool:
        """Whether a worker with a recent heartbeat has it."""
        return is_alive(self.beat_age_seconds)


@dataclass(frozen=True)
class ConfirmationStatus:
    """How far the confirmation of a study is, and what it has shown.

    Attributes:
        sentences: The verdict, or how far it is; then what it rests on.
        is_over: Whether nothing is left to be trained.
        winner: Number of the trial that won the first stage; None before its end.
        control: Number of the trial with the configured values; None before the second stage,
            and where no trial has them.
        recommended: Number of the trial whose setting is recommended; None before the end.
        search_score: Of the winner, in the search.
        confirmed_score: Mean of the winner in the second stage; None before its end.
        control_score: Mean of the configured values in it, likewise.
        shrinkage: Search score minus confirmed score, likewise.
        cheaper: Number of a candidate of a cheaper network within one standard error.
        is_on_own_images: Whether no trial's score saw the images of the second stage.
        n_images: How many they are.
        is_better: Whether the winner may be called better than the configured values; None
            without a verdict.
        verdict: The test behind that, likewise.
        runs: All runs that are queued.
    """

    sentences: tuple[str, ...]
    is_over: bool
    winner: int | None
    control: int | None
    recommended: int | None
    search_score: float | None
    confirmed_score: float | None
    control_score: float | None
    shrinkage: float | None
    cheaper: int | None
    is_on_own_images: bool
    n_images: int
    is_better: bool | None
    verdict: Verdict | None
    runs: tuple[ConfirmationRunStatus, ...]

    @property
    def has_live_worker(self) -> bool:
        """Whether a worker with a recent heartbeat has one of its runs."""
        return any(run.is_alive for run in self.runs)


def read_confirmation_status(
    storage: StudyStorage, study_name: str, *, now: float
) -> ConfirmationStatus | None:
    """Return how far the confirmation of a searched study is; None where it has none.

    Args:
        storage: The database.
        study_name: Of the searched study.
        now: The database's clock, in seconds since 1970.
    """
    found = read_confirmation(storage, study_name)
    if found is None:
        return None
    winner, cheaper = found.winner, found.cheaper if found.is_over else None
    scores = found.control_scores if found.is_over else []
    return ConfirmationStatus(
        sentences=tuple(sentences(found)),
        is_over=found.is_over,
        winner=winner.number if winner else None,
        control=found.control,
        recommended=found.recommended,
        search_score=winner.search_score if winner else None,
        confirmed_score=found.confirmed_score,
        control_score=statistics.fmean(scores) if scores else None,
        shrinkage=found.shrinkage,
        cheaper=cheaper.number if cheaper else None,
        is_on_own_images=found.is_on_own_images,
        n_images=found.n_images,
        is_better=None if found.verdict is None else found.verdict.is_better,
        verdict=found.verdict,
        runs=tuple(_runs(storage, found, study_name + CONFIRM_SUFFIX, now)),
    )


def _runs(
    storage: StudyStorage, found: Confirmation, name: str, now: float
) -> Sequence[ConfirmationRunStatus]:
    database = storage.database
    n_epochs = int(read_protocol(database, name).configuration["search"]["n_epochs"])
    pace = seconds_per_epoch(read_totals(database, name))
    attempts = attempts_by_trial(database, [run.row.trial_id for run in found.runs])
    statuses = []
    for number, run in enumerate(found.runs, start=1):
        mine = attempts.get(run.row.trial_id, [])
        under_way = running_trial(run.row, mine, n_epochs=n_epochs, now=now, usual_pace=pace)
        statuses.append(
            ConfirmationRunStatus(
                number=number,
                role=run.role,
                searched_trial=run.searched_trial,
                state=run.row.state,
                host=under_way.host,
                pid=under_way.pid,
                beat_age_seconds=under_way.beat_age_seconds,
                epoch=run.row.epochs_done,
                n_epochs=n_epochs,
                macro_f1=run.score,
                seconds_left=under_way.seconds_left,
            )
        )
    return statuses
