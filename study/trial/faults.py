"""Whose fault an error is: that of training one configuration, or of what surrounds every trial.

Only the former may fail a trial. Anything else releases it and stops the worker.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from data.errors import DataError
from model.device import is_device_fault, is_out_of_memory
from model.errors import DivergedError, ModelError
from storage.database import is_database_error
from storage.errors import StorageError, first_line
from study.errors import StudyError
from study.stop_signal import StopRequested

SPOKEN = (StudyError, StorageError, DataError, ModelError)
"""Errors whose message is a whole line: setting, rule, value and remedy."""


class TrainingError(Exception):
    """What training a configuration has raised, which is its cause."""


@contextmanager
def training() -> Iterator[None]:
    """Mark what is raised inside as the fault of the configuration that is trained.

    Errors of the environment pass through, so do those of a device, whose fault nobody knows.

    Raises:
        TrainingError: From whatever else is raised inside.
    """
    try:
        yield
    except (StopRequested, DivergedError):
        raise
    except Exception as error:
        if is_environment(error) or is_out_of_memory(error) or is_device_fault(error):
            raise
        raise TrainingError(describe(error)) from error


def is_environment(error: BaseException) -> bool:
    """Return whether an error comes from disks, data or database: every trial would meet it."""
    return any(
        isinstance(one, (OSError, *SPOKEN)) or is_database_error(one) for one in _chain(error)
    )


def describe(error: BaseException) -> str:
    """Return one line that says the cause of an error, not what wrapped it on its way."""
    *_, innermost = _chain(error)
    spoken = next((one for one in _chain(error) if isinstance(one, SPOKEN)), None)
    if spoken is not None:
        return str(spoken)
    kind, line = type(innermost).__name__, first_line(innermost)
    return kind if line == kind else f"{kind}: {line}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
