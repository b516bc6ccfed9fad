"""What a diagnosis rests on, and its reading from the database. Must not import torch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from dashboards.analysis.search_space import Hyperparameter, merge_spaces
from storage.database import Database
from storage.diagnosed_trials import (
    DivergedValues,
    ScoredTrial,
    all_differ,
    count_first_epoch_divergences,
    read_diverged_values,
    read_scored,
    repeated_ids,
)
from storage.records import Protocol
from storage.study_totals import Totals

DIVERGED = "diverged"
FEWEST_FINISHED = 10
"""Finished trials before anything is said of how trials end early."""
FEWEST_ENDS = 3
LEAST_SHARE = 0.1
"""Of the finished trials: how many must end alike before it is worth saying."""
MOST_BEST = 20
"""How many of the best complete trials are looked at."""
MOST_REPEATS = 200
"""How many trials the noise between seeds is measured on."""


@dataclass(frozen=True)
class Evidence:
    """What a diagnosis rests on.

    Attributes:
        counts: Trials that the study ran, by state.
        kinds: Why some were pruned: number of trials by kind of reason.
        failure_kinds: Why some failed, likewise.
        n_complete: Complete trials, those imported from another study too.
        best: The best of these.
        repeats: Complete trials of which some repeat one another under other seeds.
        diverged: Where trials diverged, of each hyperparameter that they have; empty where few
            did.
        n_first_epoch: How many of them diverged in their first epoch, likewise.
        configuration: The stored configuration, by section.
    """

    counts: Mapping[str, int]
    kinds: Mapping[str, int] = field(default_factory=dict)
    failure_kinds: Mapping[str, int] = field(default_factory=dict)
    n_complete: int = 0
    best: Sequence[ScoredTrial] = ()
    repeats: Sequence[ScoredTrial] = ()
    diverged: Sequence[DivergedValues] = ()
    n_first_epoch: int = 0
    configuration: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_finished(self) -> int:
        """Trials that the study ran to some end."""
        return sum(self.counts.get(state, 0) for state in ("complete", "pruned", "failed"))

    @property
    def n_diverged(self) -> int:
        """Trials whose loss was not finite."""
        return self.kinds.get(DIVERGED, 0)

    @property
    def diverges_often(self) -> bool:
        """Whether so many trials diverged that it is worth saying."""
        return is_frequent(self.n_diverged, self.n_finished)

    @property
    def best_first(self) -> list[ScoredTrial]:
        """The best complete trials from the best on, the earliest of equals first."""
        return sorted(self.best, key=lambda trial: (-trial.value, trial.number))

    @property
    def space(self) -> dict[str, Hyperparameter]:
        """What the best trials and the diverged ones drew from, by name."""
        drawn = [trial.distributions for trial in self.best]
        drawn += [{one.name: one.distribution} for one in self.diverged]
        return {one.name: one for one in merge_spaces(drawn)}

    def setting(self, key: str) -> Any:
        """Return a configured setting; None where the study's version had none of that name."""
        section, _, name = key.partition(".")
        return self.configuration.get(section, {}).get(name)


def is_frequent(n_ends: int, n_finished: int) -> bool:
    """Return whether so many of the finished trials ended alike that it is worth saying."""
    is_enough = n_finished >= FEWEST_FINISHED and n_ends >= FEWEST_ENDS
    return is_enough and n_ends >= LEAST_SHARE * n_finished


EarlyEnds = Sequence[tuple[TrialState, Mapping[str, str] | None]]


def read_evidence(
    database: Database,
    protocol: Protocol,
    *,
    totals: Sequence[Totals],
    early: EarlyEnds,
    best: Sequence[int],
) -> Evidence:
    """Return what a diagnosis of a study rests on.

    Args:
        database: Where the study is.
        protocol: Its stored configuration.
        totals: What its trials of each state have trained.
        early: State and reason of each trial that ended early.
        best: Row numbers of its best complete trials, `MOST_BEST` or all.
    """
    name = protocol.study_name
    counts = {one.state_name: one.n_trials for one in totals if not one.is_imported}
    complete = [one.n_trials for one in totals if one.state == TrialState.COMPLETE]
    scored = read_scored(database, best)
    evidence = Evidence(
        counts=counts,
        kinds=_count_kinds(early, TrialState.PRUNED),
        failure_kinds=_count_kinds(early, TrialState.FAIL),
        n_complete=sum(complete),
        best=scored,
        repeats=_read_repeats(database, name, scored),
        configuration=protocol.configuration,
    )
    if not evidence.diverges_often:
        return evidence
    return replace(
        evidence,
        diverged=read_diverged_values(database, name),
        n_first_epoch=count_first_epoch_divergences(database, name),
    )


def _read_repeats(
    database: Database, study_name: str, best: Sequence[ScoredTrial]
) -> list[ScoredTrial]:
    """Return complete trials that may repeat one another."""
    if not best:
        return []
    # Real numbers seldom repeat, and one look at one of them is quicker than at all.
    drawn = best[0].distributions.items()
    real = [name for name, kind in drawn if isinstance(kind, FloatDistribution)]
    if real and all_differ(database, study_name, real[0]):
        return []
    return read_scored(database, repeated_ids(database, study_name, MOST_REPEATS))


def _count_kinds(early: EarlyEnds, state: TrialState) -> Counter[str]:
    return Counter(reason["kind"] for of, reason in early if of == state and reason)
