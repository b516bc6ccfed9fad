"""Encoded picture of any size and mode -> square RGB pixels.

A JPEG is decoded at a half, a quarter or an eighth of its size where that is still twice the
size asked for. Must not know about splits, rows or labels.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from xxhash import xxh3_64

from data.colours import Range, convert_to_rgb, is_cut_to_8_bits, reject_cut_values
from data.small_jpeg import Frame, decode_whole, read_frame, read_if_small

# Pillow warns of a picture of more than 89 million pixels and rejects one of twice as many: a few
# hundred kB may decode to gigabytes. Here the warning rejects it.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
PIXELS_AT_ONCE = 2**27
"""Of all pictures that threads decode at the same time: a pixel takes some 10 to 20 bytes."""
LEAST_REDUCTION = 2
"""By so much a JPEG is resampled, antialiased, after its decoder has made it smaller."""
REDUCING_GAP = 3
"""By so much any picture is resampled after its pixels were averaged in blocks."""
TURNS_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

Resize = Literal["crop", "pad", "squash"]


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

    `digest` is that of its prepared pixels and of its upright width and height before: all that
    training sees of it. Files of equal bytes give equal pixels, so this one digest finds them too.
    """

    mode: str
    width: int
    height: int
    digest: int


def decode(
    content: bytes | Path,
    *,
    image_size: int,
    resize: Resize = "crop",
    value_range: Range | None = None,
) -> tuple[NDArray[np.uint8], Original]:
    """Decodes one picture, turns it upright, and makes it square.

    Args:
        content: the encoded picture, or the file that holds it.
        image_size: height and width of the result, in pixels.
        resize: cut the largest centred square out, add a black border, or squash the picture.
        value_range: values that mean black and white where there are more than 8 bits; none: as
            the file says.

    Returns:
        The pixels, (image_size, image_size, 3), and what the picture was.

    Raises:
        Exception: whatever Pillow raises for a picture it cannot read.
    """
    small = read_if_small(content) if isinstance(content, Path) else content
    if small and (prepared := _decode_small_jpeg(small, image_size, resize, value_range)):
        return prepared
    return _decode_any(small or content, image_size, resize, value_range)


def _decode_small_jpeg(
    content: bytes, image_size: int, resize: Resize, value_range: Range | None
) -> tuple[NDArray[np.uint8], Original] | None:
    """Decode what needs neither Pillow's own reading of the header nor its reduction."""
    frame = read_frame(content)
    if frame is None or _is_reducible(frame, image_size, resize):
        return None
    if (picture := decode_whole(content, frame)) is None:
        return None
    rgb = convert_to_rgb(picture, value_range=value_range)
    pixels_HWC = np.asarray(_make_square(rgb, rgb.size, image_size, resize))
    return pixels_HWC, Original(frame.mode, *rgb.size, _digest(pixels_HWC, rgb.size))


def _is_reducible(frame: Frame, image_size: int, resize: Resize) -> bool:
    """Return whether a JPEG decoder may leave every second pixel out, at least."""
    width, height = _draft_size(frame[:2], image_size, resize)
    return min(frame.width // width, frame.height // height) >= 2


def _decode_any(
    content: bytes | Path, image_size: int, resize: Resize, value_range: Range | None
) -> tuple[NDArray[np.uint8], Original]:
    file = BytesIO(content) if isinstance(content, bytes) else content
    with Image.open(file, formats=_formats()) as picture:
        width, height = picture.size
        is_cut = is_cut_to_8_bits(picture)
        drafted = picture.draft("RGB", _draft_size(picture.size, image_size, resize))
        is_reduced = picture.size != (width, height)
        is_progressive = "progressive" in picture.info  # then all coefficients lie in memory
        n_pixels = width * height if is_progressive else picture.width * picture.height
        with _budget.reserve(n_pixels):
            picture.load()  # first, as it turns a TIFF upright
            mode = picture.mode
            orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
            if orientation != 1 and not is_reduced:
                ImageOps.exif_transpose(picture, in_place=True)
            if is_cut:
                reject_cut_values(picture, value_range=value_range)
            rgb = convert_to_rgb(picture, value_range=value_range)
            # The last row and column of a reduced picture may stand for less than the others,
            # wherever they would lie once it is upright: so it is turned when it is square.
            extent = drafted[1][2:] if drafted and is_reduced else rgb.size
            square = _make_square(rgb, extent, image_size, resize)
            if is_reduced:
                square.getexif()[ExifTags.Base.Orientation] = orientation
                ImageOps.exif_transpose(square, in_place=True)
            pixels_HWC = np.asarray(square)
    upright = (height, width) if orientation in TURNS_SIDEWAYS else (width, height)
    return pixels_HWC, Original(mode, width, height, _digest(pixels_HWC, upright))


def read_size(content: bytes | Path) -> tuple[int, int]:
    """Reads the width and height of a picture, as stored, without decoding it.

    Raises:
        Exception: whatever Pillow raises for a picture it cannot read.
    """
    file = BytesIO(content) if isinstance(content, bytes) else content
    with Image.open(file, formats=_formats()) as picture:
        return picture.size


@cache
def _formats() -> list[str]:
    """Those that Pillow decodes by itself: for EPS it would run Ghostscript on the content."""
    Image.preinit()  # first, as Image.open tries the usual formats first
    Image.init()
    return [name for name in Image.ID if name != "EPS"]


def _draft_size(size: tuple[int, int], image_size: int, resize: Resize) -> tuple[int, int]:
    """Return what a decoder may reduce the picture to, but not below."""
    least = LEAST_REDUCTION * image_size
    if resize != "pad":
        return least, least
    width, height = size
    return max(1, least * width // max(size)), max(1, least * height // max(size))


def _make_square(
    rgb: Image.Image, extent: tuple[float, float], image_size: int, resize: Resize
) -> Image.Image:
    size = image_size, image_size
    if rgb.size == size:
        return rgb
    if resize == "squash":
        return _resample(rgb, size, (0, 0, *extent))
    if resize == "crop":
        # One resampling of the centred square is what resizing the short side and then cropping
        # gives.
        side = min(extent)
        left, top = ((length - side) / 2 for length in extent)
        return _resample(rgb, size, (left, top, left + side, top + side))
    width, height = (max(1, round(image_size * length / max(extent))) for length in extent)
    square = Image.new("RGB", size)
    fitted = _resample(rgb, (width, height), (0, 0, *extent))
    square.paste(fitted, ((image_size - width) // 2, (image_size - height) // 2))
    return square


def _resample(
    rgb: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]
) -> Image.Image:
    return rgb.resize(size, Image.Resampling.BILINEAR, box, reducing_gap=REDUCING_GAP)


def _digest(pixels_HWC: NDArray[np.uint8], upright: tuple[int, int]) -> int:
    """64 bits: among ten million pictures, two different ones agree once in 400,000 data sets."""
    content = xxh3_64(b"%dx%d " % upright)
    content.update(np.ascontiguousarray(pixels_HWC).data)
    return content.intdigest()
