"""Trials and confirmation runs as rows, made up."""

from collections.abc import Mapping
from typing import Any

from dashboards.analysis.confirmation.reading import CONFIRMS, ConfirmationRun, Role
from storage.trial_rows import TrialRow
from study.creation.queue import Point


def search_row(
    number: int,
    params: Mapping[str, Any],
    value: float | None = 0.5,
    *,
    state: str = "complete",
    attributes: Mapping[str, Any] | None = None,
) -> TrialRow:
    """Return a trial."""
    return TrialRow(
        trial_id=number,
        number=number,
        slot=number,
        state=state,
        value=value,
        best_epoch=None,
        epochs_done=0,
        last_macro_f1=None,
        params=dict(params),
        reason=None,
        host=None,
        seconds=0.0,
        attributes=dict(attributes or {}),
    )


def run_of(slot: int, point: Point, score: float | None, *, state: str = "") -> ConfirmationRun:
    """Return what a queued point has come to; by default it waits without a score."""
    role: Role = point.attributes[CONFIRMS]["role"]
    row = search_row(
        slot,
        point.params,
        score,
        state=state or ("waiting" if score is None else "complete"),
        attributes=point.attributes,
    )
    return ConfirmationRun(role, point.attributes[CONFIRMS]["trial"], row)
