"""Digests of a source's files, remembered in the cache so that unchanged files are not read again.

A file counts as unchanged while its size, its times of change and its inode stay the same: the
time of content, which programs may set back, and that of the inode. Must not know what the files
hold.
"""

import os
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.group_rights import make_folders, share
from data.sources.folder_walk import readable

DIGEST_BYTES = 16
FORMAT = 2
"""A part of the index's name: raised when its content changes."""
CHUNK_FILES = 256
BLOCK_BYTES = 2**20
RACY_NS = 2_000_000_000
"""A file changed so shortly before it is read may change again without another time of change:
file systems count in steps of up to 2 s."""
N_FACTS = 4
MODIFIED, CHANGED = 1, 2
"""Columns of the facts: times of change of the content and of the inode."""
Facts = NDArray[np.int64]
Digests = NDArray[np.uint8]


@dataclass(frozen=True)
class _Index:
    rows: dict[str, int]
    facts_N4: Facts
    digests_ND: Digests


def digest_files(folder: Path, names: Sequence[str], *, cache: Path) -> Digests:
    """Return the digests of some files, (N, 16); only those that have changed are read.

    Args:
        folder: The source.
        names: Paths of the files, relative to the folder.
        cache: The folder that keeps the index.

    Raises:
        DataError: A file cannot be read.
    """
    path = _index_path(folder, cache)
    index = _load(path)
    digests_ND, facts_N4, rows_N, began_ns = _compare(folder, names, index)
    unknown_N = np.flatnonzero(rows_N < 0)
    digests_ND[unknown_N] = _digest(folder, [names[n] for n in unknown_N.tolist()])
    if len(unknown_N) or len(index.rows) != len(names):
        _save(path, names, facts_N4, digests_ND, began_ns=began_ns)
    return digests_ND


def verify_files(folder: Path, names: Sequence[str], *, cache: Path) -> list[str]:
    """Read all files again, whatever the index says, and write the index anew.

    Returns:
        The names of files whose content is another one than the index says.

    Raises:
        DataError: A file cannot be read.
    """
    path = _index_path(folder, cache)
    remembered_ND, facts_N4, rows_N, began_ns = _compare(folder, names, _load(path))
    digests_ND = _digest(folder, names)
    differs_N = (rows_N >= 0) & (remembered_ND != digests_ND).any(axis=1)
    _save(path, names, facts_N4, digests_ND, began_ns=began_ns)
    return [names[n] for n in np.flatnonzero(differs_N).tolist()]


def _compare(
    folder: Path, names: Sequence[str], index: _Index
) -> tuple[Digests, Facts, NDArray[np.int64], int]:
    """The digests that the index knows, the facts of the files, the rows in the index (-1: not
    there or changed), and when this began."""
    began_ns = time.time_ns()
    facts_N4 = _read_facts(folder, names)
    rows_N = np.array([index.rows.get(name, -1) for name in names], dtype=np.int64)
    digests_ND = np.zeros((len(names), DIGEST_BYTES), dtype=np.uint8)
    if index.rows:
        rows_N[(index.facts_N4[rows_N] != facts_N4).any(axis=1)] = -1
        digests_ND = index.digests_ND[rows_N]
    return digests_ND, facts_N4, rows_N, began_ns


def _read_facts(folder: Path, names: Sequence[str]) -> Facts:
    root = os.path.join(folder, "")
    facts_N4 = np.empty((len(names), N_FACTS), dtype=np.int64)
    for n, name in enumerate(names):
        try:
            found = os.stat(os.path.join(root, name))
        except OSError as error:
            raise _unread(folder, name, error) from error
        inode = found.st_ino % 2**63
        facts_N4[n] = found.st_size, found.st_mtime_ns, found.st_ctime_ns, inode
    return facts_N4


def _digest(folder: Path, names: Sequence[str]) -> Digests:
    def digest(start: int) -> bytes:
        return b"".join(_digest_one(folder, name) for name in names[start : start + CHUNK_FILES])

    with ThreadPoolExecutor() as threads:
        digests = b"".join(threads.map(digest, range(0, len(names), CHUNK_FILES)))
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def _digest_one(folder: Path, name: str) -> bytes:
    total = blake2b(digest_size=DIGEST_BYTES)
    try:
        with open(os.path.join(folder, name), "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            while block := file.read(min(size + 1, BLOCK_BYTES)):
                total.update(block)
    except OSError as error:
        raise _unread(folder, name, error) from error
    return total.digest()


def _index_path(folder: Path, cache: Path) -> Path:
    place = blake2b(os.fsencode(os.path.realpath(folder)), digest_size=DIGEST_BYTES)
    return cache / f"files-{FORMAT}-{place.hexdigest()}.npz"


def _load(path: Path) -> _Index:
    """The index, empty where there is none or it is damaged: it saves time and nothing else."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            names = os.fsdecode(stored["names"].tobytes()).split("\0")
            facts_N4, digests_ND = stored["facts"], stored["digests"]
        shapes = (facts_N4.shape, digests_ND.shape, facts_N4.dtype, digests_ND.dtype)
        if shapes == ((len(names), N_FACTS), (len(names), DIGEST_BYTES), np.int64, np.uint8):
            return _Index({name: n for n, name in enumerate(names)}, facts_N4, digests_ND)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        pass
    return _Index({}, np.empty((0, N_FACTS), np.int64), np.empty((0, DIGEST_BYTES), np.uint8))


def _save(
    path: Path, names: Sequence[str], facts_N4: Facts, digests_ND: Digests, *, began_ns: int
) -> None:
    """Write the index whole or not at all, where it can be written."""
    changed_N = facts_N4[:, [MODIFIED, CHANGED]].max(axis=1)
    trusted_N = np.flatnonzero(changed_N < began_ns - RACY_NS)
    if not len(trusted_N):
        return
    joined = os.fsencode("\0".join(names[n] for n in trusted_N.tolist()))
    with suppress(OSError):
        make_folders(path.parent)
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        try:
            with part.open("xb") as file:
                share(part)
                np.savez(
                    file,
                    names=np.frombuffer(joined, dtype=np.uint8),
                    facts=facts_N4[trusted_N],
                    digests=digests_ND[trusted_N],
                )
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _unread(folder: Path, name: str, error: OSError) -> DataError:
    return DataError(
        f"data.source: file '{readable(os.path.join(folder, name))}' cannot be read "
        f"({error.strerror}); restore or remove it"
    )
