"""Pictures are streamed in order and prepared as for training; broken ones say why."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.broken_images import POINTER_START
from data.configuration import DataConfig
from data.decoding_threads import chunk_images, count_threads
from data.image_cache import prepare
from data.picture_stream import StreamedPicture, batched, stream_pictures
from data.sources.given_pictures import find_given_pictures
from tests.data.pictures import encoded, picture

ROOT = Path(__file__).parents[2]
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")
KINDS = {"RGB": "JPEG", "CMYK": "JPEG", "LA": "WEBP", "I;16": "TIFF"}


def write_photos(folder: Path, *, n_per_class: int = 16) -> Path:
    """Write class folders of pictures of every mode, in several formats, sizes and turns."""
    for label, name in enumerate(("ant", "bee")):
        (folder / name).mkdir(parents=True)
        for index in range(n_per_class):
            mode = MODES[index % len(MODES)]
            size = (40 + 37 * (index % 5), 30 + 23 * (index % 7))
            image = photo(100 * label + index, size, mode)
            exif = Image.Exif()
            exif[0x0112] = 1 + index % 8
            kind = KINDS.get(mode, "PNG")
            image.save(folder / name / f"{index:02}.{kind.lower()}", kind, exif=exif)
    return folder


def photo(seed: int, size: tuple[int, int], mode: str) -> Image.Image:
    if mode != "I;16":
        return picture(seed, size=size, mode=mode)
    values = np.random.default_rng(seed).integers(0, 2**16, size[::-1], dtype=np.uint16)
    return Image.fromarray(values)


def stream(folder: Path, **changes: Any) -> Iterator[StreamedPicture]:
    values = {"image_size": 16, "resize": "crop", "value_range": None} | changes
    (given,) = find_given_pictures([str(folder)])
    return stream_pictures(given.paths, **values)


@pytest.mark.parametrize(
    "settings",
    [{"resize": "crop"}, {"resize": "pad"}, {"resize": "squash", "value_range": (1000.0, 4e4)}],
)
def test_pictures_are_those_that_training_sees(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = write_photos(tmp_path / "photos")
    for name in ("ant/03.png", "bee/10.webp"):
        (folder / name).write_bytes(b"broken")
    values = {"image_size": 16, "source": str(folder), "cache": tmp_path / "cache"} | settings
    prepared = prepare(DataConfig.model_validate(values | {"broken_images": "drop"}))
    confirmation = prepared.confirmation()
    assert confirmation is not None
    splits = (prepared.train(), prepared.validation(), confirmation, prepared.test())
    trained = sorted(image.tobytes() for split in splits for image in split.images_NHWC)
    streamed = [one.pixels_HWC for one in stream(folder, **settings)]
    assert sorted(pixels.tobytes() for pixels in streamed if pixels is not None) == trained
    assert len(trained) == 30


def test_order_is_that_of_the_paths_and_broken_pictures_say_why(tmp_path: Path) -> None:
    contents = [encoded(picture(n, size=(8, 8))) for n in range(40)]
    contents[3], contents[20], contents[39] = b"", POINTER_START + b"\n", contents[39][:99]
    for n, content in enumerate(contents):
        (tmp_path / f"{n:02}.png").write_bytes(content)
    pictures = list(stream(tmp_path, image_size=8))
    assert [os.path.basename(one.path) for one in pictures] == [f"{n:02}.png" for n in range(40)]
    assert {n: one.error for n, one in enumerate(pictures) if one.error} == {
        3: "it is empty",
        20: "it is a git-lfs pointer, not the image",
        39: "image file is truncated",
    }
    for n, one in enumerate(pictures):
        assert (one.pixels_HWC is None) == bool(one.error)
        if one.pixels_HWC is not None:
            assert (one.pixels_HWC == np.asarray(picture(n, size=(8, 8)))).all()


def test_picture_that_went_away_is_a_broken_one() -> None:
    settings: dict[str, Any] = {"image_size": 8, "resize": "crop", "value_range": None}
    (gone,) = stream_pictures(["away.png"], **settings)
    assert gone.pixels_HWC is None and "No such file" in gone.error


def test_stream_decodes_no_more_than_a_batch_ahead(tmp_path: Path) -> None:
    listed = 0

    def paths() -> Iterator[str]:
        nonlocal listed
        for _ in range(1000):
            listed += 1
            yield "away.png"

    pictures = stream_pictures(paths(), image_size=512, resize="crop", value_range=None)
    for _ in range(3):
        next(pictures)
    assert listed == 3 + chunk_images(512) + 2 * count_threads()
    pictures.close()


def test_batches_hold_every_item_in_order() -> None:
    assert list(batched(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batched([], 3)) == []
