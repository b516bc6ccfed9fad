"""Picture of any mode -> RGB of 8 bits: ranges of values, transparency.

Must not know about sizes, splits or files.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

Range = tuple[float, float]

GREY_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
SIXTEEN_BITS = (0.0, 65535.0)
TWELVE_BITS = (0.0, 4095.0)
RANGE_TAGS = ((340, 341), (280, 281))
"""Least and largest value of a TIFF file: those of any type, and those of whole numbers."""
WHOLE_RANGES = ((0.0, 1.0), *((0.0, 2.0**n_bits - 1) for n_bits in range(8, 33)))
SCALED_FORMATS = ("PPM", "JPEG2000")
"""Pillow scales what they hold to 16 bits, by the range that each file states."""
BITS_TAG = 258
NEARLY_WHITE = 240


def is_cut_to_8_bits(picture: ImageFile.ImageFile) -> bool:
    """Returns whether Pillow keeps 8 of 16 bits: of pictures with several channels.

    Args:
        picture: the picture, just opened and not loaded.
    """
    return picture.mode not in GREY_MODES and any(
        ";16" in _raw_mode(tile[3]) for tile in picture.tile
    )


def _raw_mode(arguments: object) -> str:
    """Return how a decoder is told that values lie in the file, such as `RGB;16B`."""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def reject_cut_values(picture: Image.Image, *, value_range: Range | None) -> None:
    """Rejects what is left of a picture with 16 bits where that is not what was meant.

    Args:
        picture: the picture, loaded and not yet converted.
        value_range: the values that mean black and white.

    Raises:
        ValueError: it is nearly black, or its values would have to be scaled.
    """
    pixels_HWC = np.asarray(picture.convert("RGBA"))
    largest = int((pixels_HWC[..., :3] * (pixels_HWC[..., 3:] > 0)).max())
    if value_range is not None or 0 < largest <= TWELVE_BITS[1] // 256:
        raise ValueError(
            f"it has 16 bits in several channels, of which 8 are read (at most {largest}): "
            "convert it to 8 bits"
        )


def convert_to_rgb(picture: Image.Image, *, value_range: Range | None) -> Image.Image:
    """Converts a picture to RGB.

    Values of more than 8 bits are scaled from `value_range`, else from the range that the file
    states, else from 16 bits where they are unsigned. Transparent pictures are composited on
    white; on black, where white would leave nothing to see.

    Args:
        picture: the picture, just opened or loaded.
        value_range: the values that mean black and white.

    Raises:
        ValueError: nothing says which values mean black and white; the message says what to set.
    """
    if picture.mode in GREY_MODES:
        return _scale(picture, value_range)
    if picture.has_transparency_data:
        return _composite(picture.convert("RGBA"))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _scale(picture: Image.Image, value_range: Range | None) -> Image.Image:
    values_HW = np.asarray(picture)
    black_white = value_range or _stated_range(picture) or _usual_range(picture.mode, values_HW)
    scaled_HW = np.nan_to_num(np.interp(values_HW, black_white, (0, 255)))
    return Image.fromarray(np.rint(scaled_HW).astype(np.uint8)).convert("RGB")


def _stated_range(picture: Image.Image) -> Range | None:
    if picture.format in SCALED_FORMATS and picture.mode != "F":
        return SIXTEEN_BITS
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return None
    for least_tag, largest_tag in RANGE_TAGS:
        if least_tag in picture.tag_v2 and largest_tag in picture.tag_v2:
            least, largest = picture.tag_v2[least_tag], picture.tag_v2[largest_tag]
            stated = float(np.min(least)), float(np.max(largest))
            # Other ranges are this picture's own: a dark one would become as bright as the rest.
            if stated in WHOLE_RANGES:
                return stated
    return TWELVE_BITS if picture.tag_v2.get(BITS_TAG) == (12,) else None


def _usual_range(mode: str, values_HW: NDArray[np.number]) -> Range:
    least, largest = (find.reduce(values_HW, axis=None) for find in (np.fmin, np.fmax))
    if not mode.startswith("I;16"):
        kind = "fractions" if mode == "F" else "signed or 32-bit integers"
        raise ValueError(
            f"its values are {kind} from {least:g} to {largest:g}, which of them are black and "
            "white is not stated: set data.value_range"
        )
    if 0 < largest <= TWELVE_BITS[1]:
        raise ValueError(
            f"it has 16 bits but no value above {largest}, nearly black: set data.value_range="
            "[0, 4095] where it has 12 bits"
        )
    return SIXTEEN_BITS


def _composite(transparent: Image.Image) -> Image.Image:
    on_white = _on("white", transparent)
    if np.asarray(on_white).min() < NEARLY_WHITE:
        return on_white
    has_pixels = transparent.getchannel("A").getbbox() is not None
    return _on("black", transparent) if has_pixels else on_white


def _on(colour: str, transparent: Image.Image) -> Image.Image:
    ground = Image.new("RGBA", transparent.size, colour)
    return Image.alpha_composite(ground, transparent).convert("RGB")
