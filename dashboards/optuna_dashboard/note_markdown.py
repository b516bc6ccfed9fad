"""Texts from data within Markdown: always as code, in which nothing else is markup.

Backslashes would not do: optuna-dashboard turns addresses in a plain text into links whether they
are escaped or not.
"""

import re
import unicodedata
from collections.abc import Sequence

LONGEST = 400
LEVELS = "▁▂▃▄▅▆▇█"


def code(text: object) -> str:
    """Return a text as a code span of one line, cut where it is very long."""
    line = " ".join("".join(map(_visible, str(text))).split())
    if len(line) > LONGEST:
        line = f"{line[:LONGEST]}…"
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
    """Return a list of names and Markdown."""
    return "\n".join(f"- {name}: {text}" for name, text in pairs)


def spark_line(values: Sequence[float], *, most: int = 60) -> str:
    """Return numbers as a line of bars from the least to the greatest.

    Args:
        values: At least one, finite.
        most: Of more numbers than these, evenly spaced ones are drawn.
    """
    n = min(len(values), most)
    drawn = [values[round(i * (len(values) - 1) / max(n - 1, 1))] for i in range(n)]
    low, high = min(drawn), max(drawn)
    step = (high - low) / (len(LEVELS) - 1) or 1.0
    return "".join(LEVELS[round((value - low) / step)] for value in drawn)
