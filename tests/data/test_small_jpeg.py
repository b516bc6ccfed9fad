"""Small JPEG files give the same pixels as Pillow's own way, and are otherwise left to it."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.decoding import decode
from data.small_jpeg import MOST_BYTES, Frame, decode_whole, read_frame, read_if_small
from tests.data.pictures import encoded, picture


def jpeg(image: Image.Image, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def opened(content: bytes) -> Image.Image:
    with Image.open(BytesIO(content)) as image:
        image.load()
        return image


jpegs = st.builds(
    lambda seed, size, mode, options: jpeg(picture(seed, size=size, mode=mode), **options),
    seed=st.integers(0, 2**16),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    mode=st.sampled_from(["RGB", "L"]),
    options=st.fixed_dictionaries(
        {
            "quality": st.integers(1, 100),
            "progressive": st.booleans(),
            "optimize": st.booleans(),
            "subsampling": st.sampled_from([0, 1, 2]),
            "restart_marker_blocks": st.integers(0, 2),
            "comment": st.binary(max_size=20),
        }
    ),
)


@settings(deadline=None)
@given(jpegs)
def test_decode_whole_gives_the_pixels_of_image_open(content: bytes) -> None:
    image = opened(content)
    frame = read_frame(content)
    assert frame == Frame(image.width, image.height, image.mode)
    decoded = decode_whole(content, frame)
    assert decoded is not None
    assert (np.asarray(decoded) == np.asarray(image)).all()


@settings(deadline=None)
@given(
    jpegs, st.integers(8, 24), st.sampled_from(["crop", "pad", "squash"]), st.binary(min_size=1)
)
def test_decode_of_a_small_jpeg_is_that_of_the_same_with_another_segment(
    content: bytes, image_size: int, resize: Any, profile: bytes
) -> None:
    """A segment that says nothing about the picture leaves it to `Image.open`."""
    segment = b"\xff\xed" + (len(profile) + 2).to_bytes(2) + profile
    with_segment = content[:2] + segment + content[2:]
    assert read_frame(with_segment) is None
    ours_HWC, ours = decode(content, image_size=image_size, resize=resize)
    theirs_HWC, theirs = decode(with_segment, image_size=image_size, resize=resize)
    assert (ours_HWC == theirs_HWC).all()
    assert ours == theirs


@settings(deadline=None)
@given(jpegs, st.data())
def test_decode_of_a_damaged_jpeg_is_what_image_open_makes_of_it(
    content: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(2, len(content) - 1))
    damaged = data.draw(
        st.sampled_from([content[:at], content[:at] + b"\x55" + content[at + 1 :]])
    )
    frame = read_frame(damaged)
    decoded = None if frame is None else decode_whole(damaged, frame)
    if decoded is not None:
        assert (np.asarray(decoded) == np.asarray(opened(damaged))).all()


def test_read_frame_leaves_what_turns_or_recolours_to_pillow() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(0, size=(16, 8))
    assert read_frame(jpeg(image)) == (16, 8, "RGB")
    assert read_frame(jpeg(image, exif=exif)) is None
    assert read_frame(jpeg(image.convert("CMYK"))) is None
    assert read_frame(jpeg(image, icc_profile=b"profile")) is None
    assert read_frame(encoded(image)) is None
    assert read_frame(jpeg(picture(0, size=(400, 400)), quality=100)) is None
    assert read_frame(b"\xff\xd8") is None


def test_decode_whole_of_a_cut_file_leaves_the_reason_to_pillow() -> None:
    content = jpeg(picture(0, size=(40, 40)))
    half = content[: len(content) // 2]
    frame = read_frame(half)
    assert frame == (40, 40, "RGB")
    assert decode_whole(half, frame) is None
    with pytest.raises(OSError, match="truncated"):
        decode(half, image_size=40)


def test_read_if_small_reads_whole_files_only(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(MOST_BYTES - 1))
    assert read_if_small(file) == bytes(MOST_BYTES - 1)
    file.write_bytes(bytes(MOST_BYTES))
    assert read_if_small(file) is None
