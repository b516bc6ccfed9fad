"""The few errors of this package, each one line: setting, rule, value and remedy."""


class StudyError(Exception):
    """A request for a study is rejected.

    Attributes:
        exit_code: Of the command that meets it; 2 is misuse, 1 a failure.
    """

    exit_code = 2


class ConfigurationError(StudyError):
    """A setting is unknown, of the wrong type or out of range."""


class ForeignPackageError(StudyError):
    """A package of another program stands before one of this program's."""


class ProtocolError(StudyError):
    """The study exists and its stored configuration differs."""


class UnsoundPipelineError(StudyError):
    """A sanity check has failed, so nothing should be trained."""

    exit_code = 1


class WorkerFailedError(StudyError):
    """A local worker has ended with an exit code of its own."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = 2 if exit_code == 2 else 1


class WorkerStoppedError(StudyError):
    """What surrounds every trial has failed here, so the worker released its trial and stopped."""

    exit_code = 1
