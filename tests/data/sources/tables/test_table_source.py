"""Tables of a folder: which bytes count, and which class each row has."""

from pathlib import Path

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.configuration import DataConfig
from data.errors import DataError
from data.image_cache import prepare
from data.sources.encoded_images import LeftOut
from data.sources.tables import table_source
from data.sources.tables.table_folders import find_tables
from data.sources.tables.table_source import hub_revision, open_tables
from tests.data.pictures import CLASS_NAMES, encoded, picture, write_tree
from tests.data.sources.layouts import left_out
from tests.data.sources.written_tables import (
    contents_of,
    find,
    labels_of,
    open_folder,
    reject_folder,
    write_parquet,
)


def test_tables_of_tiny_imagenets_layout_keep_classes_and_row_order(tmp_path: Path) -> None:
    for shard, labels in enumerate(([2, 0], [1, 1])):
        write_parquet(tmp_path / f"data/train-0000{shard}-of-00002.parquet", labels)
    write_parquet(tmp_path / "data/valid-00000-of-00001.parquet", [1])
    images = open_folder(tmp_path)
    assert images.class_names == CLASS_NAMES
    assert labels_of(images) == {"train": [2, 0, 1, 1], "validation": [1]}
    assert contents_of(images) == [encoded(picture(row)) for row in (0, 1, 0, 1)]
    assert images.splits["validation"].name == "valid" and images.left_out == ()


def test_tables_count_alone_beside_the_pictures_of_a_readme(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1, 2])
    write_tree(tmp_path / "assets")
    (tmp_path / "README.md").write_text("# Insects")
    (tmp_path / "notes.txt").touch()
    assert find(tmp_path) == ("train.parquet",)
    images = open_folder(tmp_path)
    assert labels_of(images) == {"train": [0, 1, 2]}
    n_pictures = sum(path.suffix == ".png" for path in tmp_path.rglob("*"))
    assert left_out(images) == {
        (None, "images beside the tables"): n_pictures,
        (None, ".txt files"): 1,
    }


def test_tables_may_lie_in_a_folder_with_brackets(tmp_path: Path) -> None:
    write_parquet(tmp_path / "mine [v2]*" / "train.parquet", [0, 1])
    assert labels_of(open_folder(tmp_path / "mine [v2]*")) == {"train": [0, 1]}


def test_files_beside_tables_are_counted_as_they_are_now(tmp_path: Path) -> None:
    write_parquet(tmp_path / "tables" / "train.parquet", [n % 3 for n in range(30)])
    config = DataConfig(source=str(tmp_path / "tables"), cache=tmp_path / "cache", image_size=8)
    first = prepare(config)
    (tmp_path / "tables" / "notes.txt").touch()
    second = prepare(config)
    assert (second.folder, first.description.not_used) == (first.folder, ())
    assert [(one.reason, one.count) for one in second.description.not_used] == [(".txt files", 1)]


def test_labels_of_64_bits_without_a_sign_are_rejected_in_one_line(tmp_path: Path) -> None:
    labels = pa.array([2**63, 1], pa.uint64())
    write_parquet(tmp_path / "train.parquet", labels, names=None)
    assert "'label' must hold integers of 64 bits with a sign" in reject_folder(tmp_path)


def test_tables_that_hold_no_images_are_left_out_beside_class_folders(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    pq.write_table(pa.table({"feature": [0.5], "label": [1]}), tree / "features.parquet")
    config = DataConfig(source=str(tree), cache=tmp_path / "cache", image_size=8)
    described = prepare(config).description
    assert described.class_names == CLASS_NAMES
    assert [(one.reason, one.examples) for one in described.not_used] == [
        (".parquet files", ("features.parquet",))
    ]
    (alone := tmp_path / "alone").mkdir()
    (tree / "features.parquet").rename(alone / "features.parquet")
    assert "exactly one column" in reject_folder(alone)


def test_picture_files_that_rows_name_count(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1, 1], paths=["b/0.png", "b/1.png", "no.png"])
    write_tree(tmp_path, names=("b",))
    assert find(tmp_path) == ("train.parquet", "b/0.png", "b/1.png")
    expected = [tmp_path / name for name in ("b/0.png", "b/1.png", "no.png")]
    assert contents_of(open_folder(tmp_path)) == expected


def test_picture_files_count_below_a_folder_that_is_a_link(tmp_path: Path) -> None:
    write_parquet(tmp_path / "real" / "train.parquet", [0], paths=["0.png"])
    picture(0).save(tmp_path / "real" / "0.png")
    (tmp_path / "link").symlink_to("real")
    assert find(tmp_path / "link") == ("train.parquet", "0.png")


def test_column_of_names_of_files_counts_when_chosen(tmp_path: Path) -> None:
    rows = {"file": ["0.png", "1.png"], "label": ["b", "a"]}
    pq.write_table(pa.table(rows), tmp_path / "train.parquet")
    picture(0).save(tmp_path / "0.png")
    assert find(tmp_path, image_column="file") == ("train.parquet", "0.png")
    images = open_folder(tmp_path, image_column="file")
    assert contents_of(images) == [tmp_path / "0.png", tmp_path / "1.png"]


def test_bytes_without_the_metadata_of_datasets_are_images(tmp_path: Path) -> None:
    rows = {"picture": [encoded(picture(0)), encoded(picture(1))], "label": ["b", "a"]}
    pq.write_table(pa.table(rows), tmp_path / "train.parquet")
    images = open_folder(tmp_path)
    assert contents_of(images) == rows["picture"]
    assert images.class_names == ("a", "b")


def test_class_names_in_another_order_are_matched_by_name(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [0, 1, 2])
    write_parquet(
        tmp_path / "train-00001-of-00002.parquet", [0, 1, 2], names=("cat", "bee", "ant")
    )
    write_parquet(tmp_path / "test.parquet", [0, 1, -1], names=("cat", "ant"))
    images = open_folder(tmp_path)
    assert images.class_names == CLASS_NAMES
    assert labels_of(images) == {"train": [0, 1, 2, 2, 1, 0], "test": [2, 0, -1]}


def test_class_names_beyond_those_of_the_first_file_are_rejected(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1, 2])
    write_parquet(tmp_path / "test.parquet", [0], names=("ant", "dog"))
    said = reject_folder(tmp_path)
    assert f"'{tmp_path}/test.parquet' has besides them dog; encode all files together" in said
    assert f"must have the classes of '{tmp_path}/train.parquet'" in said


def test_index_beyond_the_class_names_is_rejected(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 3])
    assert "must be below 3, the number of its class names" in reject_folder(tmp_path)


def test_labels_without_names_beside_named_ones_are_rejected(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1])
    write_parquet(tmp_path / "test.parquet", [0, 1], names=None)
    assert "test.parquet' has type int64, not string" in reject_folder(tmp_path)


def test_rows_without_a_label_are_counted(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, -1, 1, None, None])
    write_parquet(tmp_path / "test.parquet", [-1, -1], names=None)
    images = open_folder(tmp_path)
    assert labels_of(images) == {"train": [0, -1, 1, -1, -1], "test": [-1, -1]}
    reason, examples = "rows without a label", ("row 1", "row 3", "row 4")
    assert images.left_out == (
        LeftOut(split="train", reason=reason, count=3, examples=examples),
        LeftOut(split="test", reason=reason, count=2, examples=("row 0", "row 1")),
    )


def test_split_without_the_label_column_is_unlabelled(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1])
    write_parquet(tmp_path / "test.parquet", [5, 6], names=None, label="id")
    images = open_folder(tmp_path)
    assert labels_of(images)["test"] == [-1, -1]
    assert left_out(images) == {("test", "rows without a label"): 2}


@pytest.mark.parametrize(
    ("stored", "class_names", "labels"),
    [
        ([10, 9, -3, 10], ("-3", "9", "10"), [2, 1, 0, 2]),
        ([2, -1, 0, None], ("0", "2"), [1, -1, 0, -1]),
        ([1, -1, 1], ("-1", "1"), [1, 0, 1]),
        (["wasp", "ant", None], ("ant", "wasp"), [1, 0, -1]),
        ([True, False], ("False", "True"), [1, 0]),
        (pa.array(["b", "a"]).dictionary_encode(), ("a", "b"), [1, 0]),
        (pa.array(["b", "a"], pa.large_string()), ("a", "b"), [1, 0]),
        (pa.array([7, 6], pa.uint8()), ("6", "7"), [1, 0]),
    ],
)
@pytest.mark.parametrize("column", ["label", "labels", "class", "target", "category"])
def test_plain_labels_are_encoded_in_order(
    tmp_path: Path, stored: list[object], class_names: object, labels: list[int], column: str
) -> None:
    write_parquet(tmp_path / "train.parquet", stored, names=None, label=column)
    images = open_folder(tmp_path)
    assert images.class_names == class_names
    assert labels_of(images) == {"train": labels}


def test_plain_labels_that_train_lacks_are_rejected(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", ["a", "b"], names=None)
    write_parquet(tmp_path / "test.parquet", ["b", "c"], names=None)
    assert "test.parquet' has besides them c;" in reject_folder(tmp_path)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ([[0, 1], [2]], "holds several (list<element: int64>): multi-label data sets are not"),
        ([0.0, 1.5], "must hold integers, strings or bools, '{file}' has type double; write"),
        (pa.array([0, 1], pa.date32()), "has type date32[day]"),
        (pa.nulls(2, pa.int64()), "must have labels in train, all are null"),
    ],
)
def test_labels_that_are_no_classes_are_rejected(
    tmp_path: Path, stored: list[object], said: str
) -> None:
    file = write_parquet(tmp_path / "train.parquet", stored, names=None)
    assert said.format(file=file) in reject_folder(tmp_path)


def test_label_columns_by_several_names_are_rejected_until_chosen(tmp_path: Path) -> None:
    rows = {"image": [encoded(picture(0))] * 2, "label": [1, 0], "category": ["x", "y"]}
    pq.write_table(pa.table(rows), tmp_path / "train.parquet")
    assert "found label, category; columns: image, label, category" in reject_folder(tmp_path)
    assert open_folder(tmp_path, label_column="category").class_names == ("x", "y")


def test_table_without_images_is_rejected_by_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "train.parquet")
    said = reject_folder(tmp_path)
    assert f"one column of '{tmp_path}/train.parquet' is of type Image, found none" in said
    assert "holds images or names of files, 'label' of" not in said
    said = reject_folder(tmp_path, image_column="label")
    assert "must hold images or names of files, 'label' of" in said and "type int64" in said


def test_later_table_without_images_is_rejected_by_name(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1])
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "test.parquet")
    assert f"'{tmp_path}/test.parquet' has no column 'image'" in reject_folder(tmp_path)


def test_lfs_pointer_is_rejected_with_what_to_do(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    (tmp_path / "train.parquet").write_text(pointer)
    said = reject_folder(tmp_path)
    assert f"'{tmp_path}/train.parquet' must hold its content, it is a pointer of git-lfs" in said
    assert "run `git lfs pull` in its folder" in said


def test_truncated_table_is_rejected_by_name(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "train.parquet", [0, 1])
    file.write_bytes(file.read_bytes()[:-20])
    said = reject_folder(tmp_path)
    assert f"'{file}' must be a whole parquet file, it cannot be read" in said
    assert "connection" not in said


def test_table_damaged_inside_is_rejected_by_name_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_parquet(tmp_path / "test.parquet", [0, 1])
    file = write_parquet(tmp_path / "train.parquet", [0, 1])
    content = bytearray(file.read_bytes())
    content[4:200] = bytes(196)
    file.write_bytes(content)
    assert f"'{file}' must be a whole parquet file" in reject_folder(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_chosen_splits_are_used_and_the_others_listed(tmp_path: Path) -> None:
    for name, n_rows in (("train", 2), ("extra", 3), ("test", 4)):
        write_parquet(tmp_path / f"{name}-00000-of-00001.parquet", [0, 1, 1, 1][:n_rows])
    splits = {"train": "extra", "validation": "test"}
    assert find(tmp_path, splits=splits) == (
        "extra-00000-of-00001.parquet",
        "test-00000-of-00001.parquet",
    )
    images = open_folder(tmp_path, splits=splits)
    assert labels_of(images) == {"train": [0, 1, 1], "validation": [0, 1, 1, 1]}
    assert left_out(images) == {("train", "rows of a split that is not used"): 2}


def test_folder_of_pictures_has_no_tables(tmp_path: Path) -> None:
    assert find_tables(write_tree(tmp_path / "tree"), DataConfig()) is None
    write_parquet(tmp_path / "tree" / "train.parquet", [0])
    assert find_tables(tmp_path / "tree", DataConfig(label_file=Path("labels.csv"))) is None


def hub_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`datasets` takes a folder below the current one for the hub id of its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "someone" / "insects"


def test_hub_id_of_several_configurations_must_be_given_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = hub_copy(tmp_path, monkeypatch)
    write_parquet(hub / "large" / "train.parquet", [0, 1, 1])
    write_parquet(hub / "small" / "train.parquet", [2, 0])
    configs = [f"- config_name: {n}\n  data_files: {n}/*.parquet\n" for n in ("large", "small")]
    (hub / "README.md").write_text(f"---\nconfigs:\n{''.join(configs)}---\n")
    several = "several, 'someone/insects' has large, small; set"
    with pytest.raises(DataError, match=several):
        hub_revision("someone/insects", configuration=None)
    with pytest.raises(DataError, match=several):
        open_tables("someone/insects", DataConfig())
    with pytest.raises(DataError, match="got 'tiny'; it has large, small"):
        hub_revision("someone/insects", configuration="tiny")
    assert hub_revision("someone/insects", configuration="small")
    images = open_tables("someone/insects", DataConfig(configuration="small"))
    assert labels_of(images) == {"train": [2, 0]}
    assert contents_of(images) == [encoded(picture(0)), encoded(picture(1))]


def test_hub_id_has_its_own_splits_and_plain_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = hub_copy(tmp_path, monkeypatch)
    for name in ("train", "extra"):
        write_parquet(hub / "data" / f"{name}-00000-of-00001.parquet", ["b", "a"], names=None)
    images = open_tables("someone/insects", DataConfig(splits={"train": "extra"}))
    assert images.class_names == ("a", "b")
    assert left_out(images) == {("train", "rows of a split that is not used"): 2}


def test_hub_files_that_name_classes_in_another_order_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = hub_copy(tmp_path, monkeypatch)
    write_parquet(hub / "data" / "train-00000-of-00001.parquet", [0, 1])
    write_parquet(hub / "data" / "test-00000-of-00001.parquet", [0], names=CLASS_NAMES[::-1])
    with pytest.raises(DataError, match="must name the classes in one order") as caught:
        open_tables("someone/insects", DataConfig())
    assert "download them and name their folder" in str(caught.value)
    assert labels_of(open_folder(hub)) == {"train": [0, 1], "test": [2]}


def test_downloaded_file_of_the_hub_is_found_by_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    kept = tmp_path / "datasets--someone--insects" / "snapshots" / "a1" / "data" / "train.parquet"
    write_parquet(kept, [0])
    url = "hf://datasets/someone/insects@a1/data/{}.parquet"
    assert table_source._find_download(url.format("train")) == kept
    assert table_source._find_download(url.format("test")) is None


def test_hub_id_that_cannot_be_reached_names_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_copy(tmp_path, monkeypatch)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="check the name and the connection"):
        hub_revision("someone/insects", configuration=None)


def test_full_disk_while_tables_are_unpacked_is_one_line(tmp_path: Path) -> None:
    write_parquet(tmp_path / "tables" / "train.parquet", [0, 1])
    (scratch := tmp_path / "tables-scratch").mkdir()
    (scratch / "train.arrow").symlink_to("/dev/full")
    assert f"'{tmp_path}/tables' cannot be unpacked into '{scratch}' (" in reject_folder(
        tmp_path / "tables"
    )
