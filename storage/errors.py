"""The few errors of this package, each one line that names the setting and the remedy."""


class StorageError(Exception):
    """Something asked of the database or the run folders is refused."""


class StudyNotFoundError(StorageError):
    """The database holds no study of that name, or there is no database yet."""


class CheckpointError(StorageError):
    """A checkpoint is missing, damaged or cannot be written."""


class LeaseLostError(StorageError):
    """Another worker has taken over the trial, so this one must drop it."""
