"""Decoding a split: what is read at a time, what is written, and what is said of broken images."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from data import split_writer
from data.broken_images import MOST_LISTED, POINTER_START
from data.configuration import DataConfig
from data.decoding import decode
from data.errors import BrokenImageError
from data.image_cache import prepare
from data.sources.encoded_images import EncodedImage, EncodedSplit
from data.split_writer import Track, no_progress, write_split
from data.splits import SplitRows
from data.statistics import SplitTally
from tests.data.pictures import encoded, picture, write_table, write_tree

T = TypeVar("T")
POINTER = POINTER_START + b"\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n"


def split_of(contents: list[bytes], reads: list[int] | None = None) -> EncodedSplit:
    """A split that notes how many bytes it is asked for at a time."""

    def read(rows_N: NDArray[np.int64]) -> list[EncodedImage]:
        images = [EncodedImage(f"row {row}", contents[row]) for row in rows_N.tolist()]
        if reads is not None:
            reads.append(sum(len(contents[row]) for row in rows_N.tolist()))
        return images

    return EncodedSplit(np.arange(len(contents)) % 3, read, "train")


def write(
    source: EncodedSplit, path: Path, *, track: Track = no_progress, **changes: object
) -> SplitTally:
    config = DataConfig.model_validate({"image_size": 8} | changes)
    rows = SplitRows("train", np.arange(len(source.labels_N)), source.labels_N)
    return write_split(source, rows, path=path, config=config, track=track)


def said(source: Path, tmp_path: Path) -> str:
    config = DataConfig(source=str(source), cache=tmp_path / "cache", image_size=8)
    with pytest.raises(BrokenImageError) as caught:
        prepare(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_large_images_are_read_one_by_one_and_small_ones_many_at_a_time(tmp_path: Path) -> None:
    reads: list[int] = []
    large = [bytes(split_writer.READ_BYTES // 2 + 1)] * 9
    write(split_of(large, reads), tmp_path / "large", broken_images="drop")
    assert reads == [len(large[0])] * 9
    reads.clear()
    write(split_of([encoded(picture(0))] * 250, reads), tmp_path / "small")
    assert len(reads) == 5


@pytest.mark.parametrize(
    ("image_size", "n_images", "n_chunks"), [(8, 256, 1), (8, 257, 2), (200, 70, 3), (1300, 3, 3)]
)
def test_chunks_have_fewer_images_where_these_are_larger(
    tmp_path: Path, image_size: int, n_images: int, n_chunks: int
) -> None:
    steps: list[int] = []

    def track(iterable: Iterable[T], description: str, total: int, step: int, /) -> Iterator[T]:
        for item in iterable:
            steps.append(step)
            yield item

    contents = [encoded(picture(n)) for n in range(n_images)]
    tally = write(split_of(contents), tmp_path / "images", track=track, image_size=image_size)
    assert len(steps) == n_chunks
    written = np.fromfile(tmp_path / "images", dtype=np.uint8)
    images_NHWC = written.reshape(n_images, image_size, image_size, 3)
    for n in (0, n_images // 2, n_images - 1):
        assert (images_NHWC[n] == decode(contents[n], image_size=image_size)[0]).all()
    assert tally.rows_N.tolist() == list(range(n_images))


def test_chunk_of_broken_images_only_is_dropped(tmp_path: Path) -> None:
    contents = [b"no picture"] * 300 + [encoded(picture(0))]
    tally = write(split_of(contents), tmp_path / "images", broken_images="drop")
    assert (tally.n_dropped, tally.rows_N.tolist()) == (300, [300])
    assert (tmp_path / "images").stat().st_size == 8 * 8 * 3


def test_every_broken_image_of_every_split_is_listed_in_one_line(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", n_per_class=10)
    for name in ("ant/0.png", "bee/3.png", "bee/7.png", "cat/9.png"):
        (tree / name).write_bytes(b"no picture")
    text = said(tree, tmp_path)
    assert text.startswith("data.source: 4 images cannot be decoded, split train, ")
    for name in ("ant/0.png", "bee/3.png", "bee/7.png", "cat/9.png"):
        assert f"{name}: cannot identify image file; " in text
    assert text.endswith("; repair or shrink them, or set data.broken_images to drop")


def test_only_the_first_broken_images_are_named_the_rest_is_counted(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", n_per_class=12)
    for path in [*(tree / "bee").iterdir(), *(tree / "cat").iterdir()]:
        path.write_bytes(b"no picture")
    text = said(tree, tmp_path)
    assert text.count("cannot identify") == MOST_LISTED
    assert "; and 4 more; repair" in text


@pytest.mark.parametrize(
    ("content", "reason", "remedy"),
    [
        (POINTER, "it is a git-lfs pointer, not the image", "run git lfs pull"),
        (b"", "it is empty", "repair or shrink them"),
    ],
)
def test_files_without_a_picture_are_found_before_anything_is_decoded(
    tmp_path: Path, content: bytes, reason: str, remedy: str
) -> None:
    tree = write_tree(tmp_path / "tree")
    (tree / "ant" / "0.png").write_bytes(b"no picture, which only decoding would tell")
    for name in ("bee", "cat"):
        (tree / name / "1.png").write_bytes(content)
    text = said(tree, tmp_path)
    assert text.startswith("data.source: 2 images cannot be decoded, split train, ")
    assert f"bee/1.png: {reason}; " in text
    assert f"cat/1.png: {reason}; " in text
    assert text.endswith(f"; {remedy}, or set data.broken_images to drop")


def test_rows_and_dropped_images_that_hold_a_pointer_say_so(tmp_path: Path) -> None:
    contents = [encoded(picture(index)) for index in range(30)]
    contents[4], contents[8] = POINTER, b""
    hub = write_table(tmp_path / "hub", "train", [0, 1, 2] * 10, contents=contents)
    text = said(hub, tmp_path)
    assert "row 4: it is a git-lfs pointer" in text
    assert text.endswith(
        "; run git lfs pull, repair or shrink them, or set data.broken_images to drop"
    )
    config = DataConfig(
        source=str(hub), cache=tmp_path / "cache", image_size=8, broken_images="drop"
    )
    dropped = prepare(config).description.dropped
    reasons = {image.name: image.reason for images in dropped.values() for image in images}
    assert reasons == {"row 4": "it is a git-lfs pointer, not the image", "row 8": "it is empty"}
