"""What the signal that killed a worker says, and how it is stored as the outcome of an attempt."""

import signal
from collections.abc import Sequence

from storage.leases import LOST

REASONS = {
    "SIGKILL": "often the kernel's out-of-memory killer",
    "SIGBUS": "often a file that was cut short while mapped, or a full disk",
    "SIGSEGV": "a fault in native code",
    "SIGABRT": "a fault in native code",
    "SIGFPE": "a fault in native code",
    "SIGILL": "an instruction that this processor lacks",
}


def name_signal(number: int) -> str:
    """Return the name of a signal; real-time ones have none but their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def describe_signal(name: str) -> str:
    """Return the name of a signal with the likely reason."""
    return f"{name} ({REASONS[name]})" if name in REASONS else name


def lost_by(name: str) -> str:
    """Return the outcome of an attempt whose worker a signal has killed."""
    return f"{LOST}: {name}"


def describe_losses(endings: Sequence[str]) -> str:
    """Say how a trial lost its workers.

    Args:
        endings: Outcomes of its fruitless attempts, each `lost` or `lost: SIGNAL`.
    """
    names = [name for name in (end.removeprefix(LOST).lstrip(": ") for end in endings) if name]
    times = f"{len(endings)} time{'' if len(endings) == 1 else 's'} without a new epoch"
    signals = ", ".join(map(describe_signal, dict.fromkeys(names)))
    if names and len(names) == len(endings):
        return f"its worker was killed by {signals} {times}"
    return f"its worker was lost {times}" + (f", also killed by {signals}" if names else "")
