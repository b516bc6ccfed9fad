"""How values of a trial are written as text, in every view. Must not import torch."""

from typing import Any

from storage.trial_rows import TrialRow

TAKEN_OVER_MARK = "*"
NAMING_DIGITS = 6
"""Significant digits where numbers tell points apart, which may lie close together."""


def shown_params(row: TrialRow) -> dict[str, str]:
    """Return the hyperparameters as short texts, the blocks of all stages as one."""
    shown: dict[str, str] = {}
    for name, value in row.params.items():
        if name.startswith("blocks_"):
            shown["blocks"] = "-".join(filter(None, (shown.get("blocks"), str(value))))
        else:
            shown[setting_name(name)] = shown_value(value)
    return shown


def setting_name(key: str) -> str:
    """Return what people call a setting: `learning rate` for `optimization.learning_rate`."""
    return key.rpartition(".")[2].replace("_", " ")


def shown_value(value: Any, *, digits: int = 3) -> str:
    """Return a hyperparameter as a short text, a number with so many significant digits."""
    if value is None:
        return "none"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def shown_duration(seconds: float) -> str:
    """Return a duration in the unit that suits it: `48 s`, `12 min`, `3.1 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
