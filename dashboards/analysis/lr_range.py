"""Reads the record of the LR finder from the run folder. Must not import torch."""

import json
from dataclasses import dataclass
from pathlib import Path

from dashboards.errors import DashboardError
from model.rate_curve import RateCurve


@dataclass(frozen=True)
class RangeRecord:
    """Result of the LR finder (range test).

    Attributes:
        curve: Losses at rising learning rates.
        suggested_rate: None where the loss never falls.
        n_steps: Configured steps.
    """

    curve: RateCurve
    suggested_rate: float | None
    n_steps: int


def load_range_record(path: Path) -> RangeRecord | None:
    """Return the record that `study lr-range` wrote, None where there is none.

    Raises:
        DashboardError: If the file is not of this kind.
    """
    try:
        values = json.loads(path.read_bytes())
        curve = RateCurve.from_dict(values["curve"])
        points = list(zip(curve.rates, curve.losses, strict=True))
        suggested = values["suggested_rate"]
        if not all(isinstance(value, int | float) for point in points for value in point):
            raise TypeError("a rate or loss is no number")
        return RangeRecord(
            curve=curve,
            suggested_rate=None if suggested is None else float(suggested),
            n_steps=int(values["n_steps"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, OSError, RecursionError) as error:
        raise DashboardError(
            f"record of the LR finder must be a file that `study lr-range` wrote, {path} is not "
            f"({type(error).__name__}): restore it, or remove it to leave it out"
        ) from None
