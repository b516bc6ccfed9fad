"""A source can neither fill the memory, nor hang, nor reach files outside the fingerprint."""

import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from data import decoding
from data.configuration import DataConfig
from data.errors import DataError
from data.image_cache import PreparedData, prepare
from data.sources.folder_walk import list_files
from data.sources.opening import inspect_source
from tests.data.pictures import encoded, picture, write_table, write_tree
from tests.tools.unprivileged import unprivileged

ROOT = Path(__file__).parents[3]
LABELS = [0, 1, 2] * 5
ROW = 7

PEAK = """
import sys
from pathlib import Path
from data.decoding import decode

def peak_kb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])

before = peak_kb()
try:
    decode(Path(sys.argv[1]), image_size=8)
except Exception as error:
    print(error)
print(peak_kb() - before)
"""


def opened(source: Path, tmp_path: Path, **changes: object) -> PreparedData:
    values = {"source": str(source), "image_size": 8, "cache": tmp_path / "cache"}
    return prepare(DataConfig.model_validate(values | changes))


def rejection(source: Path, tmp_path: Path, **changes: object) -> str:
    with pytest.raises(DataError) as caught:
        opened(source, tmp_path, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def bomb(side: int) -> bytes:
    """A black PNG of one bit a pixel: 22 kB stand for 177 million pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side))
    ends = chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + ends


def test_bomb_of_pixels_is_rejected_before_it_takes_memory(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(13_304))
    result = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "bomb.png")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    reason, grown_kb = result.stdout.splitlines()
    assert "176996416 pixels) exceeds limit of 89478485 pixels" in reason
    assert int(grown_kb) < 100_000
    assert result.stderr == ""


def test_bomb_of_pixels_is_a_broken_image(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    (tree / "bee" / "2.png").write_bytes(bomb(13_304))
    assert "bee/2.png: Image size (176996416 pixels) exceeds" in (
        said := rejection(tree, tmp_path)
    )
    assert said.endswith("repair or shrink it, or set data.broken_images to drop")
    prepared = opened(tree, tmp_path, broken_images="drop")
    assert sum(prepared.description.dropped_counts.values()) == 1


@pytest.mark.parametrize("share", [0.6, 1.0, 7.0])
def test_pictures_that_fill_the_memory_are_decoded_one_after_another(share: float) -> None:
    budget = decoding._PixelBudget()
    holding: list[int] = []
    most: list[int] = []

    def hold(index: int) -> None:
        for _ in range(50):
            with budget.reserve(int(share * decoding.PIXELS_AT_ONCE)):
                holding.append(index)
                most.append(len(holding))
                holding.remove(index)

    threads = [threading.Thread(target=hold, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) == 200


def test_postscript_is_no_picture(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    (tree / "bee" / "2.png").write_bytes(content)
    assert "bee/2.png: cannot identify image file" in rejection(tree, tmp_path)


def test_two_links_to_the_folder_itself_are_rejected(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    for name in ("one", "two"):
        (tree / "bee" / name).symlink_to(".")
    assert f"folder '{tree}/bee/one' must be reached once" in rejection(tree, tmp_path)


def test_split_that_links_to_another_is_rejected(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_tree(tmp_path / "tree" / split)
    (tmp_path / "tree" / "test").symlink_to("val")
    assert "it is '" in rejection(tmp_path / "tree", tmp_path)


def test_links_elsewhere_are_followed(tmp_path: Path) -> None:
    elsewhere = write_tree(tmp_path / "elsewhere")
    (tmp_path / "tree").mkdir()
    for folder in elsewhere.iterdir():
        (tmp_path / "tree" / folder.name).symlink_to(folder)
    first = opened(tmp_path / "tree", tmp_path)
    assert first.fingerprint == opened(elsewhere, tmp_path).fingerprint
    (elsewhere / "bee" / "2.png").write_bytes(encoded(picture(99)))
    assert opened(tmp_path / "tree", tmp_path).fingerprint != first.fingerprint


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_rejected_without_opening_it(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    tree = write_tree(tmp_path / "tree")
    make(tree / "bee" / "9.png")
    with pytest.raises(DataError, match=r"bee/9\.png' must be a file or folder"):
        list_files(tree)
    assert "bee/9.png' must be a file" in rejection(tree, tmp_path)


def test_link_to_itself_and_folder_that_cannot_be_read_are_rejected(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    (tree / "bee").chmod(0)
    unread = unprivileged(lambda: rejection(tree, tmp_path))
    (tree / "bee").chmod(0o755)
    assert f"'{tree}/bee' cannot be read (Permission denied)" in unread
    (tree / "bee" / "9.png").symlink_to("9.png")
    assert "bee/9.png' cannot be read (Too many levels" in rejection(tree, tmp_path)


def test_folders_may_be_deeper_than_the_stack(tmp_path: Path) -> None:
    deep = write_tree(tmp_path / "tree") / "cow"
    deep.mkdir()
    levels = [f"{deep}{'/d' * n}" for n in range(1, 1050)]
    for level in levels:
        os.mkdir(level)
    Path(levels[-1], "9.png").write_bytes(encoded(picture(9)))
    try:
        assert sum(opened(tmp_path / "tree", tmp_path).description.counts.values()) == 16
    finally:  # deeper than the stack of those who clean up, too
        os.unlink(f"{levels[-1]}/9.png")
        for level in reversed(levels):
            os.rmdir(level)


def test_hidden_pictures_count_neither_in_the_fingerprint_nor_as_images(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    before = inspect_source(DataConfig(source=str(tree))).fingerprint
    (tree / "bee" / ".ipynb_checkpoints").mkdir()
    (tree / "bee" / ".ipynb_checkpoints" / "0.png").write_bytes(encoded(picture(99)))
    assert inspect_source(DataConfig(source=str(tree))).fingerprint == before
    assert sum(opened(tree, tmp_path).description.counts.values()) == 15


def test_names_that_are_no_utf8_are_recorded_readably(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    (tree / "bee" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"no picture")
    prepared = opened(tree, tmp_path, broken_images="drop")
    (broken,) = [image for images in prepared.description.dropped.values() for image in images]
    assert broken.name.endswith("caf\\xe9.png")


def test_class_whose_name_is_no_utf8_is_rejected(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    (tree / "bee").rename(tree / os.fsdecode(b"caf\xe9"))
    assert "class folder 'caf\\xe9'" in rejection(tree, tmp_path)


def named_table(tmp_path: Path, name: str) -> Path:
    """A table of which one row names a file instead of holding bytes."""
    contents = [None if row == ROW else encoded(picture(row)) for row in range(15)]
    paths = [name if row == ROW else None for row in range(15)]
    return write_table(tmp_path / "hub", "train", LABELS, contents=contents, paths=paths)


@pytest.mark.parametrize("is_absolute", [False, True])
def test_row_may_name_a_file_in_the_source_whose_content_counts(
    tmp_path: Path, is_absolute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    prefix = f"{tmp_path / 'hub'}/" if is_absolute else ""
    hub = named_table(tmp_path, f"{prefix}pictures/4.png")
    (hub / "pictures").mkdir()
    (hub / "pictures" / "4.png").write_bytes(encoded(picture(4)))
    first = opened(hub, tmp_path)
    assert sum(first.description.counts.values()) == 15
    (hub / "pictures" / "4.png").write_bytes(encoded(picture(5)))
    assert opened(hub, tmp_path).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    "name",
    [
        "{outside}",
        "../secret.png",
        "pictures/../../secret.png",
        "link.png",
        ".hidden/4.png",
        "file://{outside}",
        "null\0.png",
        ".",
        "",
    ],
)
def test_row_that_names_a_file_elsewhere_is_broken(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.png"
    picture(77).save(secret)
    hub = named_table(tmp_path, name.format(outside=secret))
    (hub / ".hidden").mkdir()
    picture(77).save(hub / ".hidden" / "4.png")
    (hub / "link.png").symlink_to(secret)
    assert f"split train, row {ROW}" in rejection(hub, tmp_path)
    prepared = opened(hub, tmp_path, broken_images="drop")
    assert sum(prepared.description.dropped_counts.values()) == 1
    shown, _ = decoding.decode(secret, image_size=8)
    for split in (prepared.train(), prepared.validation(), prepared.test()):
        assert not (split.images_NHWC == shown).all(axis=(1, 2, 3)).any()
