"""Digests of the files of a built folder, so that damage is found before it becomes a result.

xxh3 finds accidents, not forgers: 1.2 GB take it a quarter of a second of one core, blake2b ten
times as long. Must not know what the files hold.
"""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from xxhash import xxh3_128

from data.errors import DamagedFolderError, DataError

DIGESTS_FILE = "digests.json"
_FILES = TypeAdapter(dict[str, tuple[int, str]])
"""Bytes and digest of every other file, by its path in the folder."""
_known_digests: dict[tuple[int, int, int, int], str] = {}
"""By device, inode, size and time of change: what has none of them changed is not read again."""


class CheckedFile:
    """An open file of a built folder; it stays the same one when its folder is moved or removed.

    Args:
        folder: The built folder.
        name: Path of the file in it.

    Raises:
        DamagedFolderError: The file is missing, or has another size or digest.
        DataError: It cannot be read.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / name
        facts = _read_digests(folder).get(name)
        if facts is None:
            raise DamagedFolderError(f"data.cache: {folder / DIGESTS_FILE} does not name {name}")
        self._n_bytes, self._digest = facts
        with _explained(self._path):
            self.file = self._path.open("rb", buffering=0)
        weakref.finalize(self, self.file.close)
        self.check()

    def read(self) -> bytes:
        """Return the whole content."""
        with _explained(self._path):
            self.file.seek(0)
            return self.file.readall()

    def check(self) -> None:
        """Read the file where it has changed since it was last read, else only ask its size.

        Raises:
            DamagedFolderError: It has another size or digest than when it was built.
            DataError: It cannot be read.
        """
        with _explained(self._path):
            facts = os.fstat(self.file.fileno())
            _check_size(self._path, facts.st_size, self._n_bytes)
            identity = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
            if identity not in _known_digests:
                self.file.seek(0)
                _known_digests[identity] = file_digest(self.file, xxh3_128).hexdigest()
        if _known_digests[identity] != self._digest:
            raise DamagedFolderError(
                f"data.cache: {self._path} has another digest than when it was written"
            )


def write_digests(folder: Path) -> None:
    """Write the sizes and digests of all files of a folder into one more file."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = file_digest(file, xxh3_128).hexdigest()
            files[str(path.relative_to(folder))] = (path.stat().st_size, digest)
    (folder / DIGESTS_FILE).write_bytes(_FILES.dump_json(files, indent=2))


def check_sizes(folder: Path) -> None:
    """Ask for the size of every file, without opening any.

    Raises:
        DamagedFolderError: A file is missing or has another size, or the whole folder is missing.
        DataError: The folder cannot be read.
    """
    for name, (n_bytes, _) in _read_digests(folder).items():
        with _explained(folder / name):
            _check_size(folder / name, (folder / name).stat().st_size, n_bytes)


def check_digests(folder: Path) -> None:
    """Read every file.

    Raises:
        DamagedFolderError: One is missing, or has another size or digest.
        DataError: One cannot be read.
    """
    for name in _read_digests(folder):
        CheckedFile(folder, name)


def _read_digests(folder: Path) -> dict[str, tuple[int, str]]:
    with _explained(folder / DIGESTS_FILE):
        content = (folder / DIGESTS_FILE).read_bytes()
    try:
        return _FILES.validate_json(content)
    except ValidationError:
        raise DamagedFolderError(f"data.cache: {folder / DIGESTS_FILE} is damaged") from None


def _check_size(path: Path, n_bytes: int, expected: int) -> None:
    if n_bytes != expected:
        raise DamagedFolderError(f"data.cache: {path} must have {expected} bytes, has {n_bytes}")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedFolderError(f"data.cache: {path} is missing") from None
    except OSError as error:  # a disk or server that is away: another copy would not help
        raise DataError(
            f"data.cache: {path} cannot be read ({error.strerror}); repair that, or choose "
            "another cache folder"
        ) from error
