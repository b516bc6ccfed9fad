"""Commands that sentences end with. Must not import torch."""

from typing import Any


def fork_with(key: str, value: Any) -> str:
    """Return the command that goes on with a changed setting, as code."""
    shown = f"{value:.10g}" if isinstance(value, float) else str(value)
    return f"`study fork NEW --set {key}={shown}`"
