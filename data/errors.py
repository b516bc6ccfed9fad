"""The errors this room raises on purpose, so that callers can print one line and stop.

Must not import anything of ours: every module of the room depends on it.
"""


class DataError(Exception):
    """The data set cannot be used as configured; the message says which setting to change."""


class DamagedFolderError(DataError):
    """A built folder is not, or not any more, what was written; the message names the file."""


class BrokenImageError(DataError):
    """An image cannot be decoded; the message names its split, its row or file and why."""
