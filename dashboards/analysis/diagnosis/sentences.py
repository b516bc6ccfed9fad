"""The whole diagnosis of a search, the most urgent first. Must not import torch."""

from collections.abc import Sequence

from dashboards.analysis.diagnosis.divergence import (
    describe_divergence,
    find_diverging_ends,
    list_diverging,
)
from dashboards.analysis.diagnosis.ends import (
    describe_failures,
    describe_pauses,
    describe_pruning,
)
from dashboards.analysis.diagnosis.evidence import (
    MOST_BEST,
    EarlyEnds,
    Evidence,
    read_evidence,
)
from dashboards.analysis.diagnosis.ranges import describe_edges
from dashboards.analysis.diagnosis.spread import describe_spread
from storage.database import Database
from storage.records import Protocol
from storage.study_totals import Totals

__all__ = ["MOST_BEST", "diagnose", "read_diagnosis"]


def read_diagnosis(
    database: Database,
    protocol: Protocol,
    *,
    totals: Sequence[Totals],
    early: EarlyEnds,
    best: Sequence[int],
) -> tuple[str, ...]:
    """Return the diagnosis of a study.

    Args:
        database: Where the study is.
        protocol: Its stored configuration.
        totals: What its trials of each state have trained.
        early: State and reason of each trial that ended early.
        best: Row numbers of its best complete trials, `MOST_BEST` or all.
    """
    evidence = read_evidence(database, protocol, totals=totals, early=early, best=best)
    return tuple(diagnose(evidence))


def diagnose(evidence: Evidence) -> list[str]:
    """Return what a search has shown about itself, none of it where the trials are too few.

    Each sentence has the figures that it rests on and says what to do; commands are in backticks.

    Args:
        evidence: Of one study; the order of its trials has no influence.
    """
    diverging = list_diverging(find_diverging_ends(evidence))
    return [
        *describe_failures(evidence),
        *describe_divergence(evidence),
        *describe_pruning(evidence),
        *describe_pauses(evidence),
        *describe_edges(evidence, diverging=diverging),
        *describe_spread(evidence),
    ]
