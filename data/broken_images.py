"""Images that cannot be decoded: found by size and first bytes where these are enough, and listed.

Must not decode anything.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from PIL import UnidentifiedImageError

from data.errors import BrokenImageError
from data.statistics import BrokenImage

MOST_LISTED = 20
POINTER_START = b"version https://git-lfs.github.com/spec/v1"
POINTER_BYTES = 1024
"""A git-lfs pointer has fewer."""
POINTER_REASON = "it is a git-lfs pointer, not the image"


def find_reason(content: bytes | Path | None) -> str | None:
    """Tells why there is no picture, by the size and the first bytes of the file alone.

    Args:
        content: the encoded picture, the file that holds it, or nothing.

    Returns:
        The reason; none where only decoding can tell.
    """
    if content is None:
        return "it has neither bytes nor a file in data.source"
    n_bytes = len(content) if isinstance(content, bytes) else content.stat().st_size
    if n_bytes == 0:
        return "it is empty"
    if n_bytes < POINTER_BYTES:
        stored = content if isinstance(content, bytes) else content.read_bytes()
        if stored.startswith(POINTER_START):
            return POINTER_REASON
    return None


def describe_error(content: bytes | Path | None, error: Exception) -> str:
    """Says in one line why a picture cannot be decoded.

    Args:
        content: the encoded picture, the file that holds it, or nothing.
        error: what decoding it raised.
    """
    with suppress(OSError):
        if reason := find_reason(content):
            return reason
    if isinstance(error, UnidentifiedImageError):  # it names the file, or an object in memory
        return "cannot identify image file"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def reject(broken: Sequence[BrokenImage], *, n_broken: int) -> BrokenImageError:
    """Makes the error that lists them in one line.

    Args:
        broken: the first of them.
        n_broken: how many there are.
    """
    shown = broken[:MOST_LISTED]
    listed = "; ".join(f"split {one.source_split}, {one.name}: {one.reason}" for one in shown)
    rest = f"; and {n_broken - len(shown):,} more" if n_broken > len(shown) else ""
    images, them = ("an image", "it") if n_broken == 1 else (f"{n_broken:,} images", "them")
    reasons = {one.reason for one in shown}
    remedies = ["run git lfs pull"] if POINTER_REASON in reasons else []
    remedies += [f"repair or shrink {them}"] if reasons != {POINTER_REASON} else []
    return BrokenImageError(
        f"data.source: {images} cannot be decoded, {listed}{rest}; {', '.join(remedies)}, "
        "or set data.broken_images to drop"
    )
