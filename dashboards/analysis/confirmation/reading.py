"""The confirmation of a study as every view shows it: its runs, who won, and the verdict.

Must not import torch.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from dashboards.analysis.confirmation.selection import Candidate, cheaper_rival, choose
from dashboards.analysis.confirmation.verdict import Verdict
from storage.final_groups import CONTROL, WINNER
from storage.records import Protocol, find_protocol
from storage.study_names import CONFIRM_SUFFIX
from storage.study_storage import StudyStorage
from storage.study_totals import own_ids
from storage.trial_rows import FINISHED, TrialRow, read_some

CANDIDATE: Final = "candidate"
Role = Literal["candidate", "winner", "control"]
CONFIRMS = "confirms"
"""User attribute of a confirmation run: its role, the searched trial, that trial's score, cost."""
VERDICT = "verdict"
"""User attribute of a confirmation study: its verdict as JSON, once it is over."""


@dataclass(frozen=True)
class ConfirmationRun:
    """One run of a confirmation study.

    Attributes:
        role: candidate in the first stage; winner or control in the second.
        searched_trial: Number of the trial whose setting it has; None where the control is none.
        row: The run itself; its value is the score that counts.
    """

    role: Role
    searched_trial: int | None
    row: TrialRow

    @property
    def is_over(self) -> bool:
        """Whether it came to an end, be it a failure."""
        return self.row.state in FINISHED

    @property
    def has_failed(self) -> bool:
        """Whether it came to no score."""
        return self.is_over and self.row.state != "complete"

    @property
    def score(self) -> float | None:
        """Macro-F1 after its last epoch, on the images of its stage; None before that."""
        return self.row.value if self.row.state == "complete" else None


@dataclass(frozen=True)
class Confirmation:
    """What a confirmation study has shown so far.

    Attributes:
        study_name: Name of the searched study.
        candidates: Settings of the first stage, the best of the search first.
        control: Number of the trial with the configured values; None in the first stage, and
            where no trial has them.
        runs: All runs, in the order of the queue.
        is_on_own_images: Whether the second stage is judged on images that no trial's score saw;
            where there are none, on those of the search.
        n_images: How many judge the second stage.
        verdict: None before the end; where a run of the second stage failed; and where the
            control itself won, for there is nothing to compare.
    """

    study_name: str
    candidates: tuple[Candidate, ...]
    control: int | None
    runs: tuple[ConfirmationRun, ...]
    is_on_own_images: bool
    n_images: int
    verdict: Verdict | None

    @property
    def n_done(self) -> int:
        """Runs that are over."""
        return sum(run.is_over for run in self.runs)

    @property
    def is_selected(self) -> bool:
        """Whether the first stage is over."""
        return any(run.role != CANDIDATE for run in self.runs)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be trained."""
        return self.is_selected and self.n_done == len(self.runs)

    @property
    def is_undecided(self) -> bool:
        """Whether the first stage is over, and each candidate has a run that failed."""
        return self.n_done == len(self.runs) and choose(self.candidates) is None

    @property
    def winner(self) -> Candidate | None:
        """The setting that won the first stage; None before its end."""
        return choose(self.candidates) if self.is_selected else None

    @property
    def is_control_the_winner(self) -> bool:
        """Whether the configured values won the first stage themselves."""
        return self.winner is not None and self.winner.number == self.control

    @property
    def winner_scores(self) -> list[float]:
        """Scores of the second stage of the winner."""
        return self.scores(CONTROL if self.is_control_the_winner else WINNER)

    @property
    def control_scores(self) -> list[float]:
        """Scores of the second stage of the configured values."""
        return self.scores(CONTROL)

    def scores(self, role: Role) -> list[float]:
        """Return the scores of all complete runs of a role."""
        return [run.score for run in self.runs if run.role == role and run.score is not None]

    @property
    def n_failed(self) -> int:
        """Runs of the second stage that failed."""
        return sum(run.has_failed for run in self.runs if run.role != CANDIDATE)

    @property
    def awaits_verdict(self) -> bool:
        """Whether all is trained that can be compared, and `study confirm` has yet to judge it."""
        is_comparable = self.is_over and not self.n_failed and not self.is_control_the_winner
        return is_comparable and self.verdict is None

    @property
    def confirmed_score(self) -> float | None:
        """Mean score of the winner in the second stage; None before its end."""
        if not self.is_over or not self.winner_scores:
            return None
        return statistics.fmean(self.winner_scores)

    @property
    def shrinkage(self) -> float | None:
        """By how much the winner's score in the search exceeds the confirmed one."""
        if self.winner is None or self.confirmed_score is None:
            return None
        return self.winner.search_score - self.confirmed_score

    @property
    def recommended(self) -> int | None:
        """Number of the searched trial whose setting is recommended; None before the verdict.

        It is the winner where it is better than the control, else the control, unless no trial
        has the configured values or a run of them failed.
        """
        if not self.is_over or self.awaits_verdict:
            return None
        is_better = self.verdict is not None and self.verdict.is_better
        fails = any(run.has_failed for run in self.runs if run.role == CONTROL)
        if self.control is None or fails or is_better:
            return self.winner.number if self.winner else None
        return self.control

    @property
    def cheaper(self) -> Candidate | None:
        """A candidate of a cheaper network within one standard error of the winner."""
        return cheaper_rival(self.winner, self.candidates) if self.winner else None


def read_confirmation(storage: StudyStorage, study_name: str) -> Confirmation | None:
    """Return the confirmation of a searched study; None where it has none."""
    name = study_name + CONFIRM_SUFFIX
    protocol = find_protocol(storage.database, name)
    if protocol is None or protocol.is_search:
        return None
    rows = sorted(
        read_some(storage, own_ids(storage.database, name)), key=lambda row: row.slot or 0
    )
    if not rows:  # Optuna's own tools have deleted it, save for its protocol
        return None
    noted = storage.get_study_user_attrs(storage.get_study_id_from_name(name)).get(VERDICT)
    return build_confirmation(study_name, rows, protocol, noted)


def build_confirmation(
    study_name: str, rows: Sequence[TrialRow], protocol: Protocol, noted: dict[str, Any] | None
) -> Confirmation:
    """Return what the runs of a confirmation study show.

    Args:
        study_name: Of the searched study.
        rows: In the order of the queue. What is beyond the budget does not count yet: a command
            that was cut off has queued it, and the next one completes it.
        protocol: Of the confirmation study.
        noted: The verdict as it was stored; None before that.
    """
    runs = tuple(_run(row) for row in rows if (row.slot or 0) < protocol.budget)
    counts = protocol.facts["n_examples"]
    n_own = int(counts.get("confirmation", 0))
    return Confirmation(
        study_name=study_name,
        candidates=read_candidates(runs),
        control=next((run.searched_trial for run in runs if run.role == CONTROL), None),
        runs=runs,
        is_on_own_images=n_own > 0,
        n_images=n_own or int(counts["validation"]),
        verdict=None if noted is None else Verdict(**noted),
    )


def _run(row: TrialRow) -> ConfirmationRun:
    confirms = row.attributes[CONFIRMS]
    return ConfirmationRun(confirms["role"], confirms["trial"], row)


def read_candidates(runs: Sequence[ConfirmationRun]) -> tuple[Candidate, ...]:
    """Return the settings of the first stage with what their runs came to."""
    found: dict[int, list[ConfirmationRun]] = {}
    for run in runs:
        if run.role == CANDIDATE and run.searched_trial is not None:
            found.setdefault(run.searched_trial, []).append(run)
    return tuple(
        Candidate(
            number=number,
            search_score=mine[0].row.attributes[CONFIRMS]["search_score"],
            scores=tuple(run.score for run in mine if run.score is not None),
            n_failed=sum(run.has_failed for run in mine),
            cost=mine[0].row.attributes[CONFIRMS]["cost"],
        )
        for number, mine in found.items()
    )
