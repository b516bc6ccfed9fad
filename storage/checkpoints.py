"""Atomic save and verified load of checkpoints.

A checkpoint is what `torch.save` writes: a zip archive whose records carry CRC-32 sums, which are
all checked when it is read. One file for each epoch: a worker that wakes up late can only write an
older epoch again, never roll its successor back. torch is imported by the functions that need it,
for a missing file is rejected without.
"""

import hashlib
import io
import logging
import zipfile
from pathlib import Path
from typing import Any

from storage.atomic_files import write_atomically
from storage.errors import CheckpointError, first_line
from storage.run_paths import TrialPaths

GENERATIONS = 2

FOLDER = 0x10
"""The mark of a folder, which no checksum covers: torch reads no bytes of such a record."""

logger = logging.getLogger(__name__)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write plain containers and tensors to a file, all or nothing.

    Raises:
        RunFolderError: If the disk is full or the folder cannot be written.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file that `save_checkpoint` wrote, tensors on the CPU.

    Raises:
        CheckpointError: If it is missing or damaged.
        MemoryError: If it is too large for the memory there is; torch's RuntimeError says so too.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            folders = [one.filename for one in archive.infolist() if one.external_attr & FOLDER]
        if damaged is not None:
            raise zipfile.BadZipFile(f"record {damaged} fails its checksum")
        if folders:
            raise zipfile.BadZipFile(f"record {folders[0]} is marked as a folder")

        import torch

        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint must exist, {path} does not: check the path") from None
    except Exception as error:  # a damaged archive fails in many ways, all with the same remedy
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
            raise  # the file is as good as before
        reason = first_line(error)
        raise CheckpointError(
            f"checkpoint must be whole, {path} is damaged ({reason}): use an earlier one"
        ) from error
    if not isinstance(content, dict) or "configuration" not in content:
        raise CheckpointError(f"checkpoint must be one of this program, {path} is not")
    return content


def save_generation(paths: TrialPaths, epoch: int, content: dict[str, Any]) -> None:
    """Write the checkpoint after an epoch and remove all but the newest two."""
    save_checkpoint(paths.checkpoint(epoch), content)
    for old in _generations(paths)[GENERATIONS:]:
        old.unlink(missing_ok=True)


def load_newest(paths: TrialPaths) -> dict[str, Any] | None:
    """Return the newest whole checkpoint of a trial, None where there is none."""
    for path in _generations(paths):
        try:
            return load_checkpoint(path)
        except CheckpointError as error:
            logger.warning("%s", error)
            if not isinstance(error.__cause__, OSError):  # it would outlive whole, older ones
                path.unlink(missing_ok=True)
    return None


def superfluous_weights(paths: TrialPaths, *, kept: bool) -> list[Path]:
    """Return the files that a finished trial no longer needs.

    Args:
        paths: Its files.
        kept: Whether its last checkpoint and its best weights are kept.
    """
    generations = _generations(paths)
    if kept:
        return generations[1:]
    return generations + [paths.best] * paths.best.exists()


def _generations(paths: TrialPaths) -> list[Path]:
    return sorted(paths.checkpoints.glob("epoch-*.pt"), reverse=True)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a checkpoint that `load_checkpoint` has read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
