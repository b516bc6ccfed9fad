"""Folders of tables as the hub, `save_to_disk` and people lay them out."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image

from data.configuration import DataConfig
from data.sources.opening import inspect_source
from data.sources.tables.table_folders import find_tables
from tests.data.pictures import CLASS_NAMES, encoded, picture, write_tree
from tests.data.sources.layouts import left_out
from tests.data.sources.written_tables import (
    contents_of,
    find,
    labels_of,
    open_folder,
    reject_folder,
    write_parquet,
    write_shard,
)


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ("train.parquet", "validation.parquet"),
        ("data/train-00000-of-00001.parquet", "data/val-00000-of-00001.parquet"),
        ("data/train-00000-of-00001-a1b2c3.parquet", "data/valid-00000-of-00001-d4.parquet"),
        ("default/train/0000.parquet", "default/validation/0000.parquet"),
        ("default/partial-train/0000.parquet", "default/partial-validation/0000.parquet"),
        ("train/0000.parquet", "valid/0000.parquet"),
        ("train_0.parquet", "my-valid.parquet"),
        ("training_set/0.parquet", "Validation_Set/0.parquet"),
        ("plain/train-00000-of-00001.parquet", "plain/valid-00000-of-00001.parquet"),
    ],
)
def test_splits_are_found_by_folder_and_file(tmp_path: Path, train: str, validation: str) -> None:
    write_parquet(tmp_path / train, [0, 1, 2])
    write_parquet(tmp_path / validation, [2])
    assert find(tmp_path) == (train, validation)
    assert labels_of(open_folder(tmp_path)) == {"train": [0, 1, 2], "validation": [2]}


def test_files_without_a_split_are_train(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet"):
        write_parquet(tmp_path / name, [0, 1])
    assert find(tmp_path) == ("a.parquet", "b.parquet")


def test_several_configurations_need_a_choice(tmp_path: Path) -> None:
    write_parquet(tmp_path / "large" / "train-00000-of-00001.parquet", [0, 1])
    write_parquet(tmp_path / "small" / "train-00000-of-00001.parquet", [2])
    assert (
        f"data.configuration must be set where a source has several, '{tmp_path}' has large, "
        "small; set it to one of them"
    ) in reject_folder(tmp_path)
    assert f"'{tmp_path}', got 'tiny'; it has large, small" in reject_folder(
        tmp_path, configuration="tiny"
    )
    images = open_folder(tmp_path, configuration="small")
    assert labels_of(images) == {"train": [2]}
    assert images.left_out[0].examples == ("large/train-00000-of-00001.parquet",)
    assert left_out(images) == {(None, "tables of a configuration that is not used"): 1}


def test_unknown_configuration_of_a_single_one_is_rejected(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1])
    assert "got 'tiny'; it has default" in reject_folder(tmp_path, configuration="tiny")


def fingerprint(folder: Path) -> str:
    return inspect_source(DataConfig(source=str(folder), cache=folder / ".cache")).fingerprint


def write_readme(folder: Path, configs: str) -> None:
    (folder / "README.md").write_text(f"---\nlicense: mit\nconfigs:\n{configs}---\n# Insects\n")


@pytest.mark.parametrize(
    "data_files",
    [
        "[{split: train, path: 'a/*.parquet'}, {split: test, path: ['b/0.parquet']}]",
        "{train: 'a/*', test: 'b/**'}",
    ],
)
def test_readme_says_which_files_are_which_split(tmp_path: Path, data_files: str) -> None:
    write_parquet(tmp_path / "a" / "test.parquet", [0, 1])
    write_parquet(tmp_path / "b" / "0.parquet", [2])
    write_parquet(tmp_path / "c" / "0.parquet", [2])
    write_readme(tmp_path, f"- config_name: mine\n  data_files: {data_files}\n")
    assert find(tmp_path) == ("a/test.parquet", "b/0.parquet")
    images = open_folder(tmp_path)
    assert labels_of(images) == {"train": [0, 1], "test": [2]}
    first = fingerprint(tmp_path)
    with (tmp_path / "README.md").open("a") as readme:
        readme.write("More of them.\n")
    assert fingerprint(tmp_path) == first
    assert left_out(images) == {(None, "tables of a configuration that is not used"): 1}


def test_readme_names_the_configurations_and_a_default(tmp_path: Path) -> None:
    for name in ("large", "small"):
        write_parquet(tmp_path / "deep" / "er" / name / "train-0.parquet", [0, 1])
    entry = "- config_name: {0}\n  data_dir: deep/er/{0}\n"
    write_readme(tmp_path, entry.format("large") + entry.format("small"))
    assert "has large, small; set it" in reject_folder(tmp_path)
    assert find(tmp_path, configuration="large")[0] == "deep/er/large/train-0.parquet"
    write_readme(tmp_path, entry.format("large") + entry.format("small") + "  default: true\n")
    assert find(tmp_path)[0] == "deep/er/small/train-0.parquet"


def test_readme_that_names_files_that_are_not_there_is_rejected(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1])
    write_readme(tmp_path, "- data_files: {train: 'train*', test: 'test*'}\n")
    said = reject_folder(tmp_path)
    assert f"split 'test' of '{tmp_path}' must have tables" in said
    assert labels_of(open_folder(tmp_path, splits={"train": "train"})) == {"train": [0, 1]}


@pytest.mark.parametrize("path", ["../train.parquet", "{outside}", "https://example.org/*"])
def test_readme_reaches_no_files_elsewhere(tmp_path: Path, path: str) -> None:
    outside = write_parquet(tmp_path / "train.parquet", [0, 1])
    inside = tmp_path / "folder"
    write_parquet(inside / "train.parquet", [2])
    write_readme(inside, f"- data_files: '{path.format(outside=outside)}'\n")
    assert find(inside) == ("train.parquet",)


def test_readme_whose_configs_are_no_list_of_configs_is_rejected(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1])
    write_readme(tmp_path, "- data_files: 7\n")
    assert "README.md' must list its configs as the hub does" in reject_folder(tmp_path)


README_INFO = """---
dataset_info:
  config_name: default
  features:
  - {name: image, dtype: image}
  - {name: breed, dtype: {class_label: {names: {'1': wasp, '0': bee}}}}
---
"""


def test_readme_names_the_classes_of_tables_that_datasets_did_not_write(tmp_path: Path) -> None:
    rows = {"image": [encoded(picture(row)) for row in range(3)], "breed": [1, 0, -1]}
    pq.write_table(pa.table(rows), tmp_path / "train.parquet")
    (tmp_path / "README.md").write_text(README_INFO)
    images = open_folder(tmp_path)
    assert images.class_names == ("bee", "wasp") and labels_of(images) == {"train": [1, 0, -1]}
    first = fingerprint(tmp_path)
    (tmp_path / "README.md").write_text(README_INFO + "Other sentences.\n")
    assert fingerprint(tmp_path) == first
    (tmp_path / "README.md").write_text(README_INFO.replace("bee", "fly"))
    assert fingerprint(tmp_path) != first
    write_parquet(tmp_path / "train.parquet", [0, 1], label="breed")
    assert open_folder(tmp_path).class_names == CLASS_NAMES
    first = fingerprint(tmp_path)
    (tmp_path / "README.md").unlink()
    assert fingerprint(tmp_path) == first


def save(rows: dict[str, list[int]]) -> DatasetDict:
    features = Features({"image": Image(), "label": ClassLabel(names=list(CLASS_NAMES))})
    return DatasetDict(
        {
            name: Dataset.from_dict(
                {"image": [picture(row) for row in range(len(labels))], "label": labels}, features
            )
            for name, labels in rows.items()
        }
    )


def test_saved_data_set_of_splits_is_opened(tmp_path: Path) -> None:
    tables = save({"train": [2, 0, 1], "test": [1], "extra": [0, 0]})
    tables.save_to_disk(str(tmp_path / "saved"), num_shards={"train": 2, "test": 1, "extra": 1})
    splits = {"train": "train", "test": "test"}
    images = open_folder(tmp_path / "saved", splits=splits)
    assert images.class_names == CLASS_NAMES
    assert labels_of(images) == {"train": [2, 0, 1], "test": [1]}
    assert contents_of(images) == [encoded(picture(row)) for row in range(3)]
    assert left_out(images) == {("extra", "rows of a split that is not used"): 2}
    assert sorted(find(tmp_path / "saved", splits=splits)) == [
        "dataset_dict.json",
        "test/data-00000-of-00001.arrow",
        "test/state.json",
        "train/data-00000-of-00002.arrow",
        "train/data-00001-of-00002.arrow",
        "train/state.json",
    ]
    assert "must not be set" in reject_folder(tmp_path / "saved", configuration="x")


def test_saved_table_is_train(tmp_path: Path) -> None:
    save({"train": [2, 0, 1]})["train"].save_to_disk(str(tmp_path / "saved"))
    images = open_folder(tmp_path / "saved")
    assert labels_of(images) == {"train": [2, 0, 1]}
    assert find(tmp_path / "saved") == ("data-00000-of-00001.arrow", "state.json")


def test_damaged_saved_data_set_is_rejected_by_name(tmp_path: Path) -> None:
    save({"train": [2, 0, 1]}).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "saved" / "train" / "data-00000-of-00001.arrow").write_bytes(b"")
    assert "data-00000-of-00001.arrow' must be a whole arrow" in reject_folder(tmp_path / "saved")
    (tmp_path / "saved" / "train" / "state.json").write_text("{}")
    assert "train/state.json' must be a whole json" in reject_folder(tmp_path / "saved")


def test_archives_beside_class_folders_are_no_shards(tmp_path: Path) -> None:
    (write_tree(tmp_path / "tree") / "bee.tar").touch()
    assert find_tables(tmp_path / "tree", DataConfig()) is None


@pytest.mark.parametrize("place", ["train/backup.tar", "train/wasp.tar", "old.tar"])
def test_archives_beside_the_class_folders_of_a_split_are_no_shards(
    tmp_path: Path, place: str
) -> None:
    for split in ("train", "val"):
        write_tree(tmp_path / split)
    write_shard(tmp_path / place, [("0.png", encoded(picture(0))), ("0.cls", b"7")])
    assert find_tables(tmp_path, DataConfig(source=str(tmp_path))) is None
