"""Tar shards of WebDataset: samples, their classes, and what is wrong with them."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from data.configuration import DataConfig
from data.sources.folder_walk import RUNS_MARKER
from data.sources.tables.table_folders import find_tables
from tests.data.pictures import encoded, picture
from tests.data.sources.layouts import left_out, touch
from tests.data.sources.written_tables import (
    contents_of,
    find,
    labels_of,
    open_folder,
    reject_folder,
    write_shard,
)

PICTURES = [encoded(picture(row)) for row in range(4)]


def sample(key: str, row: int, **fields: str) -> list[tuple[str, bytes]]:
    return [(f"{key}.png", PICTURES[row])] + [
        (f"{key}.{ending}", content.encode()) for ending, content in fields.items()
    ]


@pytest.mark.parametrize("place", ["", "data/", "shards/"])
def test_shards_are_read_in_order_with_numbers_as_classes(tmp_path: Path, place: str) -> None:
    write_shard(
        tmp_path / f"{place}train-000000.tar",
        sample("0", 0, cls="10") + sample("1", 1, cls="9\n", txt="a bee"),
    )
    write_shard(tmp_path / f"{place}train-000001.tar", sample("0", 2, cls="10"))
    write_shard(tmp_path / f"{place}val-000000.tar", sample("0", 3, cls="9"))
    images = open_folder(tmp_path)
    assert images.class_names == ("9", "10")
    assert labels_of(images) == {"train": [1, 0, 1], "validation": [0]}
    assert contents_of(images) == PICTURES[:3]
    assert contents_of(images, "validation") == PICTURES[3:]
    assert len(find(tmp_path)) == 3


def test_class_may_be_text_or_a_key_of_json(tmp_path: Path) -> None:
    described = [json.dumps({"label": name, "id": row}) for row, name in enumerate("ba")]
    members = sample("x/0", 0, json=described[0]) + sample("x/1", 1, json=described[1])
    write_shard(tmp_path / "a" / "0.tar", members)
    write_shard(tmp_path / "b" / "0.tar", sample("0", 0, txt="wasp") + sample("1", 1, txt="ant"))
    assert open_folder(tmp_path / "a").class_names == ("a", "b")
    assert open_folder(tmp_path / "a", label_column="id").class_names == ("0", "1")
    assert labels_of(open_folder(tmp_path / "b")) == {"train": [1, 0]}


def test_samples_without_class_or_picture_are_counted(tmp_path: Path) -> None:
    members = sample("0", 0, cls="0") + sample("1", 1) + [("2.cls", b"1"), ("._0.png", b"mac")]
    write_shard(tmp_path / "train.tar", members + sample("3", 2, cls="1"))
    images = open_folder(tmp_path)
    assert labels_of(images) == {"train": [0, -1, 1]}
    assert left_out(images) == {
        ("train", "samples without a picture"): 1,
        ("train", "rows without a label"): 1,
    }


def test_two_pictures_in_a_sample_need_a_choice(tmp_path: Path) -> None:
    members = [("0.left.png", PICTURES[0]), ("0.right.png", PICTURES[1]), ("0.cls", b"a")]
    write_shard(tmp_path / "train.tar", members)
    assert "got none; '0' of" in (said := reject_folder(tmp_path))
    assert said.endswith("has left.png, right.png")
    images = open_folder(tmp_path, image_column="right.png")
    assert contents_of(images) == [PICTURES[1]]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "must hold a file .cls, .json or .txt with the class beside each picture"),
        ({"json": "[1]"}, "it holds no JSON object (list)"),
        ({"json": "{"}, "it holds no JSON ("),
        ({"json": '{"label": [0, 1]}'}, "multi-label data sets are not supported"),
        ({"json": '{"label": 0.5}'}, "has type double"),
        ({"json": '{"id": 1}'}, "(keys: id); set data.label_column"),
    ],
)
def test_sample_without_a_readable_class_is_rejected(
    tmp_path: Path, fields: dict[str, str], said: str
) -> None:
    write_shard(tmp_path / "train.tar", sample("0", 0, **fields))
    assert said in reject_folder(tmp_path)


def test_labels_of_two_types_are_rejected(tmp_path: Path) -> None:
    members = sample("0", 0, json='{"label": 1}') + sample("1", 1, json='{"label": "a"}')
    write_shard(tmp_path / "train.tar", members)
    assert "'label' must hold labels of one type" in reject_folder(tmp_path)


def test_label_that_is_not_there_is_rejected_with_what_is(tmp_path: Path) -> None:
    write_shard(tmp_path / "train.tar", sample("0", 0, json='{"a": 1}', cls="0"))
    said = reject_folder(tmp_path, label_column="b")
    assert said.endswith(f"got 'b'; '{tmp_path}/train.tar' has cls, json, a")


@pytest.mark.parametrize("n_bytes", [0, 300, 700, 1500])
def test_truncated_shard_is_rejected_by_name(tmp_path: Path, n_bytes: int) -> None:
    shard = write_shard(tmp_path / "train.tar", sample("0", 0, cls="0"))
    shard.write_bytes(shard.read_bytes()[:n_bytes])
    assert f"'{shard}' must be a whole tar file, it cannot be read (" in reject_folder(tmp_path)


def test_shard_damaged_between_members_is_rejected(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "train.tar", sample("0", 0, cls="0") + sample("1", 1, cls="1"))
    content = bytearray(shard.read_bytes())
    start = content.index(b"1.png")
    content[start : start + 512] = b"x" * 512
    shard.write_bytes(content)
    assert f"it is damaged at byte {start}" in reject_folder(tmp_path)


def test_members_that_are_no_utf8_are_shown_readably(tmp_path: Path) -> None:
    write_shard(tmp_path / "train.tar", sample("caf\udce9", 0, cls="0"))
    (image,) = open_folder(tmp_path).splits["train"].read(np.array([0]))
    assert image.name == "train.tar/caf\\xe9.png"


def test_unused_shards_are_listed(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_shard(tmp_path / f"{name}.tar", sample("0", 0, cls="0"))
    (tmp_path / "index.csv").touch()
    images = open_folder(tmp_path, splits={"train": "train"})
    assert left_out(images) == {
        ("test", "shards of a split that is not used"): 1,
        (None, ".csv files"): 1,
    }


def test_file_that_comes_twice_is_rejected(tmp_path: Path) -> None:
    write_shard(tmp_path / "train.tar", sample("0", 0, cls="0") + sample("0", 1, cls="1"))
    assert "train.tar' must have another name, it has '0.png' twice" in reject_folder(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_link_in_a_shard_is_rejected(tmp_path: Path, kind: bytes) -> None:
    shard = write_shard(tmp_path / "train.tar", sample("0", 0, cls="0"))
    with tarfile.open(shard, "a") as archive:
        link = tarfile.TarInfo("1.png")
        link.type, link.linkname = kind, "0.png"
        archive.addfile(link)
    assert "must hold files, '1.png' is a link" in reject_folder(tmp_path)


def test_shards_count_beside_own_runs_and_text_but_not_beside_pictures(tmp_path: Path) -> None:
    write_shard(tmp_path / "train.tar", sample("0", 0, cls="0"))
    touch(tmp_path, "docs/a.txt", "runs/x/a.png", f"runs/{RUNS_MARKER}")
    assert find(tmp_path) == ("train.tar",)
    touch(tmp_path, "ant/0.png")
    assert find_tables(tmp_path, DataConfig(source=str(tmp_path))) is None
