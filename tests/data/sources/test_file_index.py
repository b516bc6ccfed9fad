"""Unchanged files are not read again, and nothing but unchanged files is trusted."""

import os
from pathlib import Path

import numpy as np
import pytest

from data.configuration import DataConfig
from data.errors import DataError
from data.sources import file_index
from data.sources.file_index import digest_files, verify_files
from data.sources.opening import inspect_source, verify_source
from tests.data.sources.layouts import classes, let_times_be_set, touch

NAMES = ["a", "b", "c"]
LONG_AGO_NS = 10**18


def write(path: Path, content: bytes, *, changed_ns: int = LONG_AGO_NS) -> None:
    """Write into the same file, and say that it changed at a given time."""
    path.write_bytes(content)
    os.utime(path, ns=(changed_ns, changed_ns))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    let_times_be_set(monkeypatch)
    (tmp_path / "tree").mkdir()
    for name in NAMES:
        write(tmp_path / "tree" / name, name.encode())
    return tmp_path / "tree"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    names: list[str] = []
    digest = file_index._digest

    def recorded(folder: Path, some: list[str]) -> np.ndarray:
        names.extend(some)
        return digest(folder, some)

    monkeypatch.setattr(file_index, "_digest", recorded)
    return names


def index_of(tmp_path: Path) -> Path:
    (index,) = (tmp_path / "cache").iterdir()
    return index


def test_only_changed_and_new_files_are_read_again(
    folder: Path, tmp_path: Path, read: list[str]
) -> None:
    cache = tmp_path / "cache"
    first = digest_files(folder, NAMES, cache=cache)
    assert (digest_files(folder, NAMES, cache=cache) == first).all()
    assert read == NAMES
    write(folder / "b", b"B", changed_ns=LONG_AGO_NS + 1)
    write(folder / "d", b"d")
    second = digest_files(folder, ["d", *NAMES], cache=cache)
    assert read[3:] == ["d", "b"]
    assert (second[[1, 3]] == first[[0, 2]]).all() and (second[2] != first[1]).any()
    (folder / "c").unlink()
    write(folder / "c", b"c")  # another inode
    digest_files(folder, NAMES, cache=cache)
    digest_files(folder, NAMES, cache=cache)
    assert read[5:] in (["c"], [])  # a file system may give the same inode again


def test_file_that_has_just_changed_is_not_trusted(
    folder: Path, tmp_path: Path, read: list[str]
) -> None:
    (folder / "a").touch()
    first = digest_files(folder, NAMES, cache=tmp_path / "cache")
    assert (digest_files(folder, NAMES, cache=tmp_path / "cache") == first).all()
    assert read == [*NAMES, "a"]


@pytest.mark.parametrize("damage", [b"", b"no index", b"PK\x03\x04 cut off", None])
def test_damaged_index_is_built_again(
    folder: Path, tmp_path: Path, read: list[str], damage: bytes | None
) -> None:
    first = digest_files(folder, NAMES, cache=tmp_path / "cache")
    index = index_of(tmp_path)
    whole = index.read_bytes()
    index.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert (digest_files(folder, NAMES, cache=tmp_path / "cache") == first).all()
    assert read == [*NAMES, *NAMES]
    digest_files(folder, NAMES, cache=tmp_path / "cache")
    assert len(read) == 6


def test_flipped_bit_in_the_index_is_damage(folder: Path, tmp_path: Path, read: list[str]) -> None:
    first = digest_files(folder, NAMES, cache=tmp_path / "cache")
    index = index_of(tmp_path)
    content = bytearray(index.read_bytes())
    content[content.index(first.tobytes())] ^= 1
    index.write_bytes(content)
    assert (digest_files(folder, NAMES, cache=tmp_path / "cache") == first).all()


def test_index_of_another_shape_is_not_used(folder: Path, tmp_path: Path, read: list[str]) -> None:
    first = digest_files(folder, NAMES, cache=tmp_path / "cache")
    np.savez(index_of(tmp_path), names=np.zeros(3, np.uint8), facts=np.zeros(3), digests=first)
    assert (digest_files(folder, NAMES, cache=tmp_path / "cache") == first).all()


def test_cache_that_cannot_be_written_costs_only_time(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    first = digest_files(folder, NAMES, cache=tmp_path / "cache")
    assert (digest_files(folder, NAMES, cache=tmp_path / "cache") == first).all()


def test_verifying_finds_what_changed_behind_the_index(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert verify_files(folder, NAMES, cache=cache) == []
    first = digest_files(folder, NAMES, cache=cache)
    write(folder / "b", b"B")
    assert (digest_files(folder, NAMES, cache=cache) == first).all()
    assert verify_files(folder, NAMES, cache=cache) == ["b"]
    assert verify_files(folder, NAMES, cache=cache) == []
    assert (digest_files(folder, NAMES, cache=cache) != first).any()


def test_file_that_is_gone_or_unreadable_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tree/no' cannot be read \(No such file"):
        digest_files(folder, ["no"], cache=tmp_path / "cache")


def test_file_whose_time_was_set_back_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_index, "RACY_NS", -(10**18))  # trust what has just changed
    file, cache = tmp_path / "a", tmp_path / "cache"
    write(file, b"a")
    first, changed_ns = digest_files(tmp_path, ["a"], cache=cache), file.stat().st_ctime_ns
    while file.stat().st_ctime_ns == changed_ns:  # until the clock of the file system has gone on
        write(file, b"b")
    assert (digest_files(tmp_path, ["a"], cache=cache) != first).any()


def test_verifying_a_source_names_its_files_and_the_embedded_one_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_times_be_set(monkeypatch)
    tree = touch(tmp_path / "tree", *classes("."))
    for path in tree.rglob("*.png"):
        write(path, path.name.encode())
    config = DataConfig(source=str(tree), cache=tmp_path / "cache")
    first = inspect_source(config).fingerprint
    write(tree / "ant" / "0.png", b"?.png")
    assert inspect_source(config).fingerprint == first
    assert verify_source(config) == ["ant/0.png"]
    assert inspect_source(config).fingerprint != first
    assert verify_source(DataConfig(cache=tmp_path / "cache")) == []


@pytest.mark.parametrize("name", ["README.md", "Thumbs.db", "ant/Thumbs.db", "study.db", "x.log"])
def test_fingerprint_covers_only_the_files_that_are_used(tmp_path: Path, name: str) -> None:
    tree = touch(tmp_path / "tree", *classes("."))
    config = DataConfig(source=str(tree), cache=tmp_path / "cache")
    first = inspect_source(config).fingerprint
    (tree / name).write_bytes(b"something else")
    assert inspect_source(config).fingerprint == first


def test_empty_class_folder_is_rejected_at_every_start(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("."))
    config = DataConfig(source=str(tree), cache=tmp_path / "cache")
    inspect_source(config)
    (tree / "cow").mkdir()
    with pytest.raises(DataError, match="cow' must hold images, it holds no files"):
        inspect_source(config)
