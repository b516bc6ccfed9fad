"""How far to trust scores on the validation images. Must not import torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from model.standard_errors import accuracy_standard_error
from storage.trial_rows import TrialRow

STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Rivals:
    """Complete trials whose accuracy does not differ clearly from that of the best trial.

    Attributes:
        n_rivals: How many there are.
        n_others: Complete trials besides the best.
        margin: Two standard errors of the difference to the best trial's accuracy.
    """

    n_rivals: int
    n_others: int
    margin: float


def find_rivals(best: TrialRow | None, rows: Sequence[TrialRow], n_images: int) -> Rivals | None:
    """Return the rivals of the best trial, None where there is none to compare with."""
    if best is None or best.best is None:
        return None
    accuracy = best.best.validation_accuracy
    others = [
        row.best.validation_accuracy
        for row in rows
        if row.state == "complete" and row.best is not None and row.number != best.number
    ]
    if not others:
        return None
    margin = STANDARD_ERRORS * math.sqrt(2) * accuracy_standard_error(accuracy, n_images)
    return Rivals(sum(accuracy - other <= margin for other in others), len(others), margin)
