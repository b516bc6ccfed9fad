"""The few errors of this package, each one line that names the setting and the remedy."""


def first_line(error: object) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class StorageError(Exception):
    """Something asked of the database or the run folders is rejected."""


class StudyNotFoundError(StorageError):
    """The database holds no study of that name, or there is no database yet."""


class StudyDeletedError(StudyNotFoundError):
    """Optuna's own tools have deleted a study, of which our rows and files are left."""


class DatabaseAwayError(StorageError):
    """The database does not answer, which may pass."""


class DatabaseRejectionError(StorageError):
    """The database rejects what is asked of it, now and at every retry."""


class DatabaseReplacedError(StorageError):
    """The SQLite file that was opened is not at its path any more, so nobody reads what we write.

    Attributes:
        exit_code: Of the command that meets it.
    """

    exit_code = 1


class RunFolderError(StorageError):
    """Nothing can be written below the runs folder: no room, or no right to."""


class AccessDeniedError(RunFolderError):
    """A file of a study belongs to another user, who does not share it."""


class CheckpointError(StorageError):
    """A checkpoint is missing or damaged."""


class LeaseLostError(StorageError):
    """Another worker has reclaimed the trial, so this one must drop it."""
