"""What sanity checks have found, and how a failure is reported. Imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CheckResult:
    """What a check has found.

    Attributes:
        name: Of the check.
        passed: None where there is nothing to pass.
        measured: What was found.
        expected: What passes, with its tolerance.
        remedy: Where to look when it fails.
    """

    name: str
    passed: bool | None
    measured: str
    expected: str
    remedy: str


def failure_line(results: Sequence[CheckResult]) -> str | None:
    """Return in one line what has failed first, None where nothing has."""
    failed = [result for result in results if result.passed is False]
    if not failed:
        return None
    first = failed[0]
    return (
        f"{len(failed)} of {len(results)} checks failed, first {first.name}: expected "
        f"{first.expected}, got {first.measured}: {first.remedy}"
    )
