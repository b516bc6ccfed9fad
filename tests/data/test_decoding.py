"""Pictures of every mode and size become square RGB."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from data.decoding import Resize, decode
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


def whole_decoded(content: bytes, image_size: int) -> NDArray[np.uint8]:
    """The centred square of the picture at its own size, resampled once."""
    picture = Image.open(BytesIO(content)).convert("RGB")
    return np.asarray(ImageOps.fit(picture, (image_size, image_size), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(5, 9), (16, 16), (32, 32), (17, 31), (63, 40)])
def test_decode_of_a_picture_up_to_four_times_as_large_resamples_all_of_its_pixels(
    size: tuple[int, int], kind: str
) -> None:
    content = encoded(picture(1, size=size), kind)
    pixels_HWC, _ = decode(content, image_size=16)
    assert (pixels_HWC == whole_decoded(content, 16)).all()


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_decode_of_a_large_picture_is_close_to_resampling_all_of_its_pixels(
    mode: str, kind: str
) -> None:
    coarse = picture(2, size=(12, 9)).resize((400, 300), Image.Resampling.BICUBIC).convert(mode)
    content = encoded(coarse, kind)
    pixels_HWC, original = decode(content, image_size=16)
    assert original[:3] == (mode, 400, 300)
    assert abs(pixels_HWC.astype(int) - whole_decoded(content, 16)).max() <= 4


def test_decode_of_a_large_photograph_leaves_fine_patterns_antialiased() -> None:
    stripes = np.tile(np.array([0, 0, 0, 255, 255, 255], dtype=np.uint8), (288, 48))
    pixels_HWC, _ = decode(encoded(Image.fromarray(stripes), "JPEG"), image_size=16)
    assert abs(pixels_HWC[:, 1:-1].astype(int) - 127).max() < 16


def test_decode_of_a_large_turned_photograph_sets_it_upright() -> None:
    image, exif = Image.new("RGB", (400, 200), "black"), Image.Exif()
    image.paste("white", (0, 0, 400, 100))
    exif[0x0112] = 6  # its left is up
    buffer = BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    pixels_HWC, original = decode(buffer.getvalue(), image_size=8)
    assert pixels_HWC[:, :3].max() == 0
    assert pixels_HWC[:, -3:].min() == 255
    assert (original.width, original.height) == (400, 200)


def test_digest_is_that_of_the_prepared_pixels_and_the_upright_size() -> None:
    image, exif = picture(3, size=(9, 5)), Image.Exif()
    exif[0x0112] = 6
    buffer = BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    upright, turned, wider = [
        decode(content, image_size=8)[1].digest
        for content in (
            encoded(image),
            buffer.getvalue(),
            encoded(image.resize((18, 10), Image.Resampling.NEAREST)),
        )
    ]
    assert upright == turned != wider


@pytest.mark.parametrize("factor", [1, 20])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_decode_pads_with_a_black_border_or_squashes(kind: str, factor: int) -> None:
    image = Image.new("RGB", (16 * factor, 8 * factor), "red")
    image.paste("blue", (8 * factor, 0, 16 * factor, 8 * factor))
    squares: dict[Resize, NDArray[np.uint8]] = {
        resize: decode(encoded(image, kind), image_size=8, resize=resize)[0]
        for resize in ("pad", "squash")
    }
    dominant = {resize: pixels_HWC.argmax(axis=2) for resize, pixels_HWC in squares.items()}
    black = (squares["pad"].max(axis=2) == 0).all(axis=1)
    assert black.tolist() == [True] * 2 + [False] * 4 + [True] * 2
    for side_by_side in (dominant["pad"][2:6], dominant["squash"]):
        assert (side_by_side[:, :4] == 0).all()
        assert (side_by_side[:, 4:] == 2).all()


def test_decode_pads_a_picture_thinner_than_a_pixel() -> None:
    pixels_HWC, _ = decode(encoded(Image.new("L", (100, 1), 255)), image_size=8, resize="pad")
    assert (pixels_HWC[..., 0] == 255).sum(axis=1).tolist() == [0, 0, 0, 8, 0, 0, 0, 0]


def tiff(values: NDArray[np.number], **tags: float) -> bytes:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        directory[int(name.removeprefix("tag_"))] = value
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "TIFF", tiffinfo=directory)
    return buffer.getvalue()


ROW = np.arange(8) * 4095 / 7
TWELVE_BITS = np.tile(np.round(ROW), (8, 1)).astype(np.uint16)
FRACTIONS = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (8, 1))
RAMP = np.round(np.linspace(0, 255, 8))


@pytest.mark.parametrize(
    "content",
    [
        tiff(TWELVE_BITS, tag_280=0, tag_281=4095),
        tiff(FRACTIONS, tag_340=0.0, tag_341=1.0),
        b"P5 8 8 4095\n" + TWELVE_BITS.astype(">u2").tobytes(),
    ],
    ids=["whole numbers", "fractions", "pgm"],
)
def test_values_are_scaled_from_the_range_that_the_file_states(content: bytes) -> None:
    pixels_HWC, _ = decode(content, image_size=8)
    assert abs(pixels_HWC - RAMP[:, None]).max() <= 1


@pytest.mark.parametrize(
    ("content", "value_range"),
    [
        (tiff(TWELVE_BITS), (0, 4095)),
        (encoded(Image.fromarray(TWELVE_BITS)), (0, 4095)),
        (tiff(FRACTIONS), (0, 1)),
        (tiff(TWELVE_BITS, tag_280=0, tag_281=65535), (0, 4095)),
        (tiff(TWELVE_BITS.astype(np.int32) - 1000), (-1000, 3095)),
        (tiff(TWELVE_BITS - np.uint16(5000), tag_339=2), (-5000, -905)),  # signed, 16 bits
    ],
)
def test_values_are_scaled_from_the_configured_range(
    content: bytes, value_range: tuple[float, float]
) -> None:
    pixels_HWC, _ = decode(content, image_size=8, value_range=value_range)
    assert (abs(pixels_HWC - RAMP[:, None]) <= 1).all()


def test_values_outside_the_configured_range_are_clipped() -> None:
    values = np.full((8, 8), -3, dtype=np.float32)
    values[:4] = 7
    values[7] = np.nan
    pixels_HWC, _ = decode(tiff(values), image_size=8, value_range=(0, 1))
    assert pixels_HWC[:, 0, 0].tolist() == [255] * 4 + [0] * 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(Image.fromarray(TWELVE_BITS)), r"no value above 4095.*value_range=\[0, 4095\]"),
        (tiff(FRACTIONS), r"fractions from 0 to 1, .*: set data\.value_range"),
        (
            tiff(TWELVE_BITS.astype(np.int32) - 9),
            r"signed .* from -9 to 4086, .*data\.value_range",
        ),
        (tiff(TWELVE_BITS - np.uint16(9), tag_339=2), r"signed .* from -9 to 4086, "),
    ],
)
def test_values_of_unknown_range_are_rejected_with_the_setting_that_says_it(
    content: bytes, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(content, image_size=8)


def test_sixteen_bits_that_are_all_black_stay_black() -> None:
    pixels_HWC, _ = decode(encoded(Image.fromarray(np.zeros((8, 8), np.uint16))), image_size=8)
    assert pixels_HWC.max() == 0


@pytest.mark.parametrize(
    ("colour", "ground"), [((255, 250, 245), 0), ((230, 255, 255), 255), ((0, 0, 0), 255)]
)
def test_transparent_picture_gets_a_ground_on_which_it_is_seen(
    colour: tuple[int, int, int], ground: int
) -> None:
    image = Image.new("RGBA", (8, 8), (9, 9, 9, 0))
    image.paste((*colour, 255), (2, 2, 6, 6))
    pixels_HWC, _ = decode(encoded(image), image_size=8)
    assert (pixels_HWC[0] == ground).all()
    assert (pixels_HWC[4, 4] == colour).all()


def deep_png(values_HWC: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits in each of three or four channels, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    height, width, n_channels = values_HWC.shape
    colour_type = {3: 2, 4: 6}[n_channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values_HWC)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_colours_of_12_in_16_bits_are_rejected_and_not_made_dark() -> None:
    twelve_HWC = np.repeat(TWELVE_BITS[:, :, None], 3, axis=2)
    for value_range in (None, (0, 4095)):
        with pytest.raises(ValueError, match="16 bits in several channels.*convert it to 8 bits"):
            decode(deep_png(twelve_HWC), image_size=8, value_range=value_range)
    pixels_HWC, _ = decode(deep_png(twelve_HWC * np.uint16(16)), image_size=8)
    assert abs(pixels_HWC.astype(int) - RAMP[:, None]).max() <= 1
    black, _ = decode(deep_png(0 * twelve_HWC), image_size=8)
    assert black.max() == 0


def test_values_of_one_picture_are_no_range_of_all() -> None:
    dark = np.tile(np.linspace(4500, 9000, 8), (8, 1)).astype(np.uint16)
    pixels_HWC, _ = decode(tiff(dark, tag_280=4500, tag_281=9000), image_size=8)
    assert pixels_HWC.max() == 35
    with pytest.raises(ValueError, match="set data.value_range"):
        decode(tiff(dark.astype(np.float32), tag_340=4500.0, tag_341=9000.0), image_size=8)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_turned_photograph_is_as_near_to_full_decoding_as_an_upright_one(
    orientation: int, resize: Resize
) -> None:
    # 803 x 601: the last row and column of what the decoder reduces stand for less.
    rows, columns = np.mgrid[:601, :803]
    waves = np.stack([np.sin(rows / 9), np.sin(columns / 11), np.cos((rows + columns) / 13)], 2)
    stored = Image.fromarray((127 + 120 * waves).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = BytesIO()
    stored.save(content, "JPEG", quality=95, exif=exif)
    pixels_HWC, _ = decode(content.getvalue(), image_size=64, resize=resize)
    with Image.open(content) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    buffer = BytesIO()
    upright.save(buffer, "PNG")
    expected_HWC, _ = decode(buffer.getvalue(), image_size=64, resize=resize)
    assert abs(pixels_HWC.astype(int) - expected_HWC).mean() < 1


@pytest.mark.parametrize("width", [700, 720])
def test_dark_picture_of_8_bits_is_none_of_16_whatever_its_width(width: int) -> None:
    dark = Image.new("RGB", (width, 8), (9, 9, 9))
    pixels_HWC, _ = decode(encoded(dark, "BMP"), image_size=8, value_range=(0, 4095))
    assert (pixels_HWC == 9).all()


def test_transparent_pixel_does_not_hide_that_the_others_are_dark() -> None:
    values_HWC = np.full((8, 8, 4), 4000, dtype=np.uint16)
    values_HWC[..., 3] = 65535
    values_HWC[0, 0, 3] = 0
    content = deep_png(values_HWC)
    with pytest.raises(ValueError, match="16 bits in several channels"):
        decode(content, image_size=8)
