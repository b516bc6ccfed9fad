"""Sources are found, fingerprinted by content, and rejected in one clear line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.configuration import DataConfig
from data.errors import DataError
from data.image_cache import PreparedData, prepare
from data.sources.opening import inspect_source
from tests.data.pictures import CLASS_NAMES, write_table, write_tree

IMAGE = {"_type": "Image"}
LABEL = {"_type": "ClassLabel", "names": list(CLASS_NAMES)}
LABELS = [0, 1, 2] * 5


def opened(source: Path | str, tmp_path: Path, **changes: object) -> PreparedData:
    values = {"image_size": 8, "cache": tmp_path / "cache"} | changes
    return prepare(DataConfig.model_validate({"source": str(source)} | values))


def rejection(source: Path | str, tmp_path: Path, **changes: object) -> str:
    with pytest.raises(DataError) as caught:
        opened(source, tmp_path, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_class_folders_are_split_and_named(tmp_path: Path) -> None:
    prepared = opened(write_tree(tmp_path / "tree"), tmp_path)
    assert prepared.class_names == CLASS_NAMES
    assert prepared.description.counts == {"train": 9, "validation": 3, "test": 3}


@pytest.mark.parametrize("validation", ["validation", "valid", "val"])
def test_class_folders_below_splits_are_used_as_they_are(tmp_path: Path, validation: str) -> None:
    for split, n in (("train", 4), (validation, 3), ("test", 2)):
        write_tree(tmp_path / "tree" / split, n_per_class=n)
    counts = opened(tmp_path / "tree", tmp_path).description.counts
    assert counts == {"train": 12, "validation": 6, "confirmation": 3, "test": 6}


def test_class_called_train_is_a_class(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", names=("bus", "car", "train"))
    assert opened(tree, tmp_path).class_names == ("bus", "car", "train")


def test_test_folder_without_classes_is_unlabelled(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree" / "train")
    picture = tmp_path / "tree" / "train" / "ant" / "0.png"
    (tmp_path / "tree" / "test").mkdir()
    (tmp_path / "tree" / "test" / "0.png").write_bytes(picture.read_bytes())
    assert opened(tmp_path / "tree", tmp_path).description.counts["test"] == 3


def test_parquet_folder_with_valid_split_takes_test_from_train(tmp_path: Path) -> None:
    write_table(tmp_path / "hub", "train", LABELS)
    write_table(tmp_path / "hub", "valid", [0, 1, 2])
    prepared = opened(tmp_path / "hub", tmp_path)
    assert prepared.class_names == CLASS_NAMES
    assert prepared.description.counts == {"train": 12, "validation": 3, "test": 3}


def test_parquet_folder_with_unlabelled_test_takes_test_from_train(tmp_path: Path) -> None:
    write_table(tmp_path / "hub", "train", LABELS)
    write_table(tmp_path / "hub", "test", [-1] * 7)
    counts = opened(tmp_path / "hub", tmp_path).description.counts
    assert counts == {"train": 9, "validation": 3, "test": 3}


def test_columns_are_found_by_type_whatever_their_names(tmp_path: Path) -> None:
    write_table(tmp_path / "hub", "train", LABELS, features={"photo": IMAGE, "breed": LABEL})
    assert opened(tmp_path / "hub", tmp_path).n_classes == 3


def test_ambiguous_columns_are_rejected_until_configured(tmp_path: Path) -> None:
    features = {"left": IMAGE, "right": IMAGE, "label": LABEL}
    hub = write_table(tmp_path / "hub", "train", LABELS, features=features)
    assert "image_column must be set" in (message := rejection(hub, tmp_path))
    assert "found left, right" in message
    assert opened(hub, tmp_path, image_column="right").n_classes == 3


def test_missing_columns_are_rejected_with_the_candidates(tmp_path: Path) -> None:
    features = {"image": IMAGE, "kind": {"_type": "Value", "dtype": "int64"}}
    hub = write_table(tmp_path / "hub", "train", LABELS, features=features)
    assert "found none; columns: image, kind" in rejection(hub, tmp_path)
    assert "got 'breed'; columns: image, kind" in rejection(hub, tmp_path, label_column="breed")


def test_source_without_train_split_is_rejected_with_its_splits(tmp_path: Path) -> None:
    hub = write_table(tmp_path / "hub", "valid", LABELS)
    assert "must have a train split, it has valid;" in rejection(hub, tmp_path)


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        ("/no/such/folder", "an existing folder"),
        ("a/b/c", "an existing folder"),
        ("./nowhere", "an existing folder"),
        ("tinyimagenet", "a folder, hub id (owner/name) or synthetic"),
    ],
)
def test_source_that_is_neither_path_nor_hub_id_is_rejected(
    source: str, kinds: str, tmp_path: Path
) -> None:
    said = rejection(source, tmp_path)
    assert f"must be {kinds}, '{source}' does not exist; give the folder with --data" in said


def test_source_that_is_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").touch()
    assert "is a file" in rejection(tmp_path / "archive.zip", tmp_path)


def test_folder_without_images_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "has no images" in rejection(tmp_path / "empty", tmp_path)


def test_empty_class_folder_is_rejected_by_name(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    (tree / "dog").mkdir()
    assert f"class folder '{tree / 'dog'}' must hold images" in rejection(tree, tmp_path)


def test_class_unknown_to_train_is_rejected_by_name(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree" / "train")
    write_tree(tmp_path / "tree" / "val", names=("dog",))
    assert "val/dog' has none" in rejection(tmp_path / "tree", tmp_path)


def test_single_class_is_rejected(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", names=("ant",))
    assert "must have at least 2 classes, it has 1 (ant)" in rejection(tree, tmp_path)


def test_classes_of_a_single_example_are_rejected_where_nothing_can_be_held_out(
    tmp_path: Path,
) -> None:
    tree = write_tree(tmp_path / "tree", n_per_class=1)
    assert "a class of train with at least 3" in rejection(tree, tmp_path)


def test_more_classes_than_there_are_is_rejected(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    assert "n_classes must be at most 3" in rejection(tree, tmp_path, n_classes=4)


def test_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    first, second = (write_tree(tmp_path / name) for name in ("first", "second"))
    assert (
        inspect_source(DataConfig(source=str(first))).fingerprint
        == inspect_source(DataConfig(source=str(second))).fingerprint
    )
    (second / "ant" / "0.png").write_bytes((second / "ant" / "1.png").read_bytes())
    assert (
        inspect_source(DataConfig(source=str(first))).fingerprint
        != inspect_source(DataConfig(source=str(second))).fingerprint
    )


def test_fingerprint_follows_names(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    before = inspect_source(DataConfig(source=str(tree))).fingerprint
    (tree / "ant").rename(tree / "aphid")
    assert inspect_source(DataConfig(source=str(tree))).fingerprint != before


def run_offline(code: str, hub_cache: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(hub_cache)}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
    )


PREPARE = """
from pathlib import Path
from data.configuration import DataConfig
from data.image_cache import prepare
config = DataConfig(source="someone/insects", image_size=8, cache=Path({cache!r}))
print(prepare(config).description.counts)
"""


def cache_as_hub_id(source: Path, home: Path) -> None:
    """Let `datasets` keep a folder as if it had been downloaded under the id someone/insects."""
    copy = f"import datasets; datasets.load_dataset({str(source)!r})"
    assert run_offline(copy, home).returncode == 0
    cached = next((home / "datasets").glob("*/*/*/*/dataset_info.json")).parent
    place = home / "datasets" / "someone___insects" / "default" / "0.0.0" / ("a" * 40)
    place.parent.mkdir(parents=True)
    cached.rename(place)
    for arrow in place.glob("*.arrow"):
        arrow.rename(place / arrow.name.replace(arrow.name.split("-")[0], "insects"))


def test_hub_id_that_is_cached_is_opened_without_network(tmp_path: Path) -> None:
    hub = write_table(tmp_path / "hub", "train", LABELS)
    cache_as_hub_id(hub, tmp_path / "home")
    result = run_offline(PREPARE.format(cache=str(tmp_path / "cache")), tmp_path / "home")
    assert "{'train': 9, 'validation': 3, 'test': 3}" in result.stdout, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("home/hub/datasets--someone--insects/snapshots/1", "{'train': 9, 'validation': 3"),
        ("elsewhere", "it has neither bytes nor a file in data.source"),
    ],
)
def test_hub_id_of_picture_files_has_only_those_of_the_hub(
    tmp_path: Path, place: str, said: str
) -> None:
    write_tree(tmp_path / place / "train")
    cache_as_hub_id(tmp_path / place, tmp_path / "home")
    result = run_offline(PREPARE.format(cache=str(tmp_path / "cache")), tmp_path / "home")
    assert said in result.stdout + result.stderr


def test_hub_id_that_is_unknown_offline_is_rejected_in_one_line(tmp_path: Path) -> None:
    result = run_offline(PREPARE.format(cache=str(tmp_path / "cache")), tmp_path / "home")
    assert "DataError: data.source: 'someone/insects' must be" in result.stderr.splitlines()[-1]
