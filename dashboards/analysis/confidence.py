"""How far scores on the validation images can be trusted. Must not import torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from storage.trial_rows import TrialRow

STANDARD_ERRORS = 2.0


def accuracy_error(row: TrialRow, n_images: int) -> float | None:
    """Return the standard error of the validation accuracy at a trial's best epoch.

    It is that of a share p of n images, sqrt(p (1 - p) / n): how much the accuracy would differ
    with other images of the same kind. None where the trial has no epoch.
    """
    if row.best is None or n_images < 1:
        return None
    accuracy = row.best.validation_accuracy
    return math.sqrt(accuracy * (1 - accuracy) / n_images)


@dataclass(frozen=True)
class Rivals:
    """Complete trials whose accuracy cannot be told from that of the best trial.

    Attributes:
        n_rivals: How many there are.
        n_others: Complete trials besides the best.
        margin: Two standard errors of the difference to the best trial's accuracy.
    """

    n_rivals: int
    n_others: int
    margin: float


def rivals(best: TrialRow | None, rows: Sequence[TrialRow], n_images: int) -> Rivals | None:
    """Return the rivals of the best trial, None where there is none to compare with."""
    if best is None or best.best is None:
        return None
    error = accuracy_error(best, n_images)
    others = [
        row
        for row in rows
        if row.state == "complete" and row.best is not None and row.number != best.number
    ]
    if error is None or not others:
        return None
    margin = STANDARD_ERRORS * math.sqrt(2) * error
    gaps = [
        best.best.validation_accuracy - row.best.validation_accuracy
        for row in others
        if row.best is not None
    ]
    return Rivals(sum(gap <= margin for gap in gaps), len(others), margin)
