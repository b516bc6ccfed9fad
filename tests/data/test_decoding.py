"""Pictures of every mode and size become square RGB."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from data.decoding import decode
from tests.data.pictures import encoded, picture


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("1", "PNG"),
        ("L", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("RGB", "JPEG"),
        ("RGBA", "PNG"),
        ("CMYK", "JPEG"),
    ],
)
@pytest.mark.parametrize("size", [(8, 8), (31, 9), (9, 31), (3, 5)])
def test_decode_of_any_mode_and_size_gives_square_rgb(
    mode: str, kind: str, size: tuple[int, int]
) -> None:
    pixels_HWC, original = decode(encoded(picture(0, size=size, mode=mode), kind), image_size=8)
    assert (pixels_HWC.shape, pixels_HWC.dtype) == ((8, 8, 3), np.uint8)
    assert original[:3] == (mode, *size)


def test_decode_of_sixteen_bits_scales_instead_of_clipping() -> None:
    values = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    pixels_HWC, original = decode(encoded(Image.fromarray(values)), image_size=8)
    assert original.mode == "I;16"
    assert (pixels_HWC[..., 0] == np.round(values / 257)).all()


def test_decode_of_transparent_pixels_shows_white() -> None:
    for mode, clear in (("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))):
        pixels_HWC, _ = decode(encoded(Image.new(mode, (8, 8), clear)), image_size=8)
        assert (pixels_HWC == 255).all()


def test_decode_of_a_wide_picture_keeps_the_centre() -> None:
    image = Image.new("RGB", (40, 10), "red")
    image.paste("blue", (15, 0, 25, 10))
    pixels_HWC, _ = decode(encoded(image), image_size=10)
    assert (pixels_HWC == (0, 0, 255)).all()


def test_decode_of_a_fine_pattern_is_antialiased() -> None:
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (64, 32))
    pixels_HWC, _ = decode(encoded(Image.fromarray(stripes)), image_size=8)
    assert abs(pixels_HWC[:, 1:-1].astype(int) - 127).max() < 10


def test_decode_of_a_turned_photograph_sets_it_upright() -> None:
    image, exif = Image.new("RGB", (8, 8), "black"), Image.Exif()
    image.paste("white", (0, 0, 8, 4))
    exif[0x0112] = 3  # upside down
    buffer = BytesIO()
    image.save(buffer, "PNG", exif=exif)
    pixels_HWC, _ = decode(buffer.getvalue(), image_size=8)
    assert pixels_HWC[0].max() == 0
    assert pixels_HWC[-1].min() == 255
