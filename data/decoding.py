"""Encoded picture of any size and mode -> square RGB pixels.

Transparent pictures are composited on white. Must not know about splits, rows or files.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# Pillow warns of a picture of more than 89 million pixels and rejects one of twice as many: a few
# hundred kB may decode to gigabytes. Here the warning rejects it.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
PIXELS_AT_ONCE = 2**27
"""Of all pictures that threads decode at the same time: a pixel takes some 10 to 20 bytes."""
SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


class _PixelBudget:
    """Make threads wait while the pictures of others take the memory."""

    def __init__(self) -> None:
        self._n_free = PIXELS_AT_ONCE
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, n_pixels: int) -> Iterator[None]:
        n_pixels = min(n_pixels, PIXELS_AT_ONCE)
        with self._changed:
            self._changed.wait_for(lambda: self._n_free >= n_pixels)
            self._n_free -= n_pixels
        try:
            yield
        finally:
            with self._changed:
                self._n_free += n_pixels
                self._changed.notify_all()


_budget = _PixelBudget()


class Original(NamedTuple):
    """What a picture was before it was prepared; width and height in pixels.

    `digest` is that of its upright RGB pixels at its own size: pictures that look the same in
    every pixel have the same one, however they are stored, and those that only look the same
    once they are made smaller have not.
    """

    mode: str
    width: int
    height: int
    digest: int


def decode(content: bytes | Path, *, image_size: int) -> tuple[NDArray[np.uint8], Original]:
    """Decodes one picture, turns it upright, and cuts the largest centred square out of it.

    Args:
        content: the encoded picture, or the file that holds it.
        image_size: height and width of the result, in pixels.

    Returns:
        The pixels, (image_size, image_size, 3), and what the picture was.

    Raises:
        Exception: whatever Pillow raises for a picture it cannot read.
    """
    file = BytesIO(content) if isinstance(content, bytes) else content
    with (
        Image.open(file, formats=_formats()) as picture,
        _budget.reserve(picture.width * picture.height),
    ):
        upright = ImageOps.exif_transpose(picture) if picture.getexif() else picture
        rgb = _to_rgb(upright)
        original = Original(picture.mode, *picture.size, _digest(rgb))
        if rgb.size != (image_size, image_size):
            # Antialiased; one resampling of the centred square is what resizing the short side
            # and then cropping gives.
            rgb = ImageOps.fit(rgb, (image_size, image_size), Image.Resampling.BILINEAR)
        return np.asarray(rgb), original


@cache
def _formats() -> list[str]:
    """Those that Pillow decodes by itself: for EPS it would run Ghostscript on the content."""
    Image.preinit()  # first, as Image.open tries the usual formats first
    Image.init()
    return [name for name in Image.ID if name != "EPS"]


def _digest(rgb: Image.Image) -> int:
    """64 bits: among ten million pictures, two different ones agree once in 400,000 data sets."""
    content = blake2b(b"%dx%d " % rgb.size, digest_size=8)
    content.update(np.asarray(rgb).data)
    return int.from_bytes(content.digest())


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in SIXTEEN_BIT_MODES:
        # Pillow's own conversion clips at 255 instead of scaling.
        values = np.clip(np.asarray(picture, dtype=np.int32), 0, 65535)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        transparent = picture.convert("RGBA")
        white = Image.new("RGBA", transparent.size, "white")
        return Image.alpha_composite(white, transparent).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")
