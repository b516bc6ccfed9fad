"""Small JPEG files whose header says nothing but sizes and tables: decoded at once.

Opening a picture takes Pillow longer than decoding it where it has 64 x 64 pixels, and holds the
interpreter. Must not know what becomes of the pixels.
"""

import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image

MOST_BYTES = 2**16
MOST_PIXELS = 2**20
START_OF_IMAGE = b"\xff\xd8"
START_OF_SCAN = 0xDA
START_OF_FRAME = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive: what is usual."""
PLAIN_SEGMENTS = (0xC4, 0xDB, 0xDD, 0xE0, 0xFE)
"""Tables of Huffman codes and of quantisation, restart interval, JFIF, comment."""
MODES = {1: "L", 3: "RGB"}
"""By the number of components, each of 8 bits."""
FRAME_BYTES = 10
"""From the marker of the frame to the number of its components."""


class Frame(NamedTuple):
    """Width and height in pixels, and the mode, RGB or L."""

    width: int
    height: int
    mode: str


def read_if_small(path: Path) -> bytes | None:
    """Returns what a file holds where that is little.

    Args:
        path: Any file.

    Raises:
        OSError: It cannot be read.
    """
    # Without a file object, whose calls give the interpreter to other threads three times more.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, MOST_BYTES)
    finally:
        os.close(descriptor)
    return content if len(content) < MOST_BYTES else None


def read_frame(content: bytes) -> Frame | None:
    """Reads the header of a JPEG.

    Args:
        content: The encoded picture, of any format.

    Returns:
        None where it is another format, large, or broken, or where its header may turn it, hold
        a second picture, or change its colours.
    """
    if len(content) >= MOST_BYTES or not content.startswith(START_OF_IMAGE):
        return None
    frame = None
    start = len(START_OF_IMAGE)
    while start + FRAME_BYTES <= len(content) and content[start] == 0xFF:
        marker = content[start + 1]
        if marker == START_OF_SCAN:
            return frame
        if marker in START_OF_FRAME:
            n_bits, n_components = content[start + 4], content[start + 9]
            height, width = _uint16(content, start + 5), _uint16(content, start + 7)
            is_plain = n_bits == 8 and n_components in MODES and 0 < height * width <= MOST_PIXELS
            if frame is not None or not is_plain:
                return None
            frame = Frame(width, height, MODES[n_components])
        elif marker not in PLAIN_SEGMENTS:
            return None
        start += 2 + _uint16(content, start + 2)
    return None


def decode_whole(content: bytes, frame: Frame) -> Image.Image | None:
    """Decodes a JPEG to the same pixels as `Image.open`, which takes longer.

    Args:
        content: The encoded picture.
        frame: What `read_frame` read.

    Returns:
        None where it is broken: `Image.open` says why.
    """
    try:
        return Image.frombytes(frame.mode, frame[:2], content, "jpeg", frame.mode, "")
    except ValueError:
        return None


def _uint16(content: bytes, start: int) -> int:
    return content[start] << 8 | content[start + 1]
