"""How values of a trial are written as text and as Markdown, in every view.

Must not import torch.
"""

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from storage.trial_rows import TrialRow

NAMING_DIGITS = 6
"""Significant digits where numbers tell points apart, which may lie close together."""
LONGEST_CODE = 400
_STAGE = re.compile(r"(?<=blocks)[._][0-9]+$")


def shown_params(row: TrialRow) -> dict[str, str]:
    """Return the hyperparameters as short texts, the blocks of all stages as one."""
    shown: dict[str, str] = {}
    for name, value in row.params.items():
        setting = _STAGE.sub("", name.partition(":")[0])
        label = setting_name(setting)
        if setting != name.partition(":")[0]:
            shown[label] = "-".join(filter(None, (shown.get(label), str(value))))
        else:
            shown[label] = shown_value(value)
    return shown


def setting_name(key: str) -> str:
    """Return what people call a setting: `learning rate` for `optimization.learning_rate`.

    The blocks of a stage are `blocks 1`, and one of several ranges is `learning rate (adamw)`.
    """
    setting, _, case = key.partition(":")
    last = setting.rpartition(".")[2]
    if last.isdecimal():
        last = "_".join(setting.split(".")[-2:])
    name = last.replace("_", " ")
    return f"{name} ({case})" if case else name


def shown_value(value: Any, *, digits: int = 3) -> str:
    """Return a hyperparameter as a short text, a number with so many significant digits."""
    if value is None:
        return "none"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def shown_p_value(p_value: float) -> str:
    """Return a p value with three decimals, or that it is smaller than they tell."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def shown_range(given: Any) -> str:
    """Return the range or choices of a searched setting, as a study stores them, in words.

    Args:
        given: `{low, high, log}` or `{choices}`, with `when` where it has a condition; or a list.
    """
    if isinstance(given, list):
        return "; ".join(map(shown_range, given))
    if "choices" in given:
        values = ", ".join(map(_shown_choice, given["choices"]))
    else:
        scale = " (logarithmic)" if given["log"] else ""
        values = f"{given['low']:g} to {given['high']:g}{scale}"
    under = []
    for key, one in given.get("when", {}).items():
        either = one if isinstance(one, list) else [one]
        under.append(f"{setting_name(key)} {' or '.join(map(_shown_choice, either))}")
    return f"{values} where {' and '.join(under)}" if under else values


def _shown_choice(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else shown_value(value)


def shown_classes(n_present: int, n_classes: int) -> str:
    """Return what to add to a macro-F1 that is not over all classes: some have no image."""
    if n_present == n_classes:
        return ""
    return f" over the {n_present:,} classes present of {n_classes:,}"


def shows_top5(n_classes: int) -> bool:
    """Return whether top-5 accuracy says anything: of five classes or fewer it is always 1."""
    return n_classes > 5


def shown_duration(seconds: float) -> str:
    """Return a duration in the unit that suits it: `48 s`, `12 min`, `3.1 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def shown_time(moment: datetime, now: datetime) -> str:
    """Return when something is expected: `22:56`, `Tue 03:10` or `2026-12-01 03:10`.

    Seconds are shown where it is less than ten minutes away.
    """
    if moment.date() != now.date():
        is_soon = moment - now < timedelta(days=6)
        return f"{moment:%a %H:%M}" if is_soon else f"{moment:%Y-%m-%d %H:%M}"
    is_near = moment - now < timedelta(minutes=10)
    return f"{moment:%H:%M:%S}" if is_near else f"{moment:%H:%M}"


def shown_bytes(n_bytes: int) -> str:
    """Return a size in the unit that suits it: `48 bytes`, `3.1 kB`, `1.2 GB`."""
    if n_bytes < 1000:
        return f"{n_bytes} byte{'' if n_bytes == 1 else 's'}"
    size, units = n_bytes / 1000, ["kB", "MB", "GB", "TB"]
    while size >= 999.95 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.1f} {units[0]}"


def code(text: object) -> str:
    """Return a text from data for Markdown: as code in one line, cut where it is very long.

    Nothing within code is markup. Backslashes would not do: optuna-dashboard turns addresses in a
    plain text into links whether they are escaped or not.
    """
    line = " ".join("".join(map(_visible, str(text))).split())
    if len(line) > LONGEST_CODE:
        line = f"{line[:LONGEST_CODE]}…"
    if not line:
        return "(empty)"
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    # One space either way belongs to the span, and is not shown.
    return f"{fence} {line} {fence}"


def _visible(character: str) -> str:
    """Return a space for what breaks a line, and nothing that only changes how others look."""
    kind = unicodedata.category(character)
    if kind in ("Cc", "Zl", "Zp"):
        return " "
    return "\N{REPLACEMENT CHARACTER}" if kind in ("Cf", "Cs", "Co", "Cn") else character


def bullets(pairs: Sequence[tuple[str, str]]) -> str:
    """Return a Markdown list of names and Markdown."""
    return "\n".join(f"- {name}: {text}" for name, text in pairs)
