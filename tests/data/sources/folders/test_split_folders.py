"""Folders of splits are never taken for classes, nor are classes for splits."""

from pathlib import Path

import pytest

from tests.data.sources.layouts import classes, counts, found, left_out, names, rejection, touch

BOTH = {"ant": 3, "bee": 3}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("training", "testing"),
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("Final_Training/Images", "Final_Test/Images"),
        ("train_images", "test_images"),
        ("archive/dataset/train", "archive/dataset/evaluation"),
        ("asl_alphabet_train/asl_alphabet_train", "asl_alphabet_test/asl_alphabet_test"),
    ],
)
def test_split_folders_are_found_whatever_they_are_called(
    tmp_path: Path, train: str, test: str
) -> None:
    images = found(touch(tmp_path / "tree", *classes(train), *classes(test))).encoded
    assert images.class_names == ("ant", "bee")
    assert counts(images) == {"train": BOTH, "test": BOTH}


@pytest.mark.parametrize("name", ["dev", "Validation", "val", "VALID"])
def test_labelled_validation_split_is_used_under_any_name(tmp_path: Path, name: str) -> None:
    images = found(touch(tmp_path / "tree", *classes("train"), *classes(name))).encoded
    assert names(images) == {"train": "train", "validation": name}


def test_name_of_a_split_is_its_folder_below_the_source(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("a/seg_train/seg_train"), *classes("a/seg_test"))
    assert names(found(tree).encoded) == {"train": "a/seg_train", "test": "a/seg_test"}
    flat = touch(tmp_path / "flat", *classes("."))
    assert names(found(flat).encoded) == {"train": "the source"}


def test_classes_in_a_wrapper_are_classes(tmp_path: Path) -> None:
    images = found(touch(tmp_path / "tree", *classes("dataset/Images"))).encoded
    assert counts(images) == {"train": BOTH}


def test_only_class_of_a_split_is_a_class(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("train"), *classes("val", names=["bee"]))
    assert counts(found(tree).encoded)["validation"] == {"ant": 0, "bee": 3}
    touch(tree, *classes("test", names=["dog"]))
    assert "test/dog' has none" in rejection(tree)


def test_two_folders_of_one_split_are_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("Train"), *classes("training"))
    assert "it has 'Train' and 'training'; name the splits to use" in rejection(tree)


def test_unknown_folder_beside_train_is_rejected_until_splits_are_named(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("train"), *classes("test"), *classes("extra"))
    assert "'extra' (6 images) is none; name the splits to use with data.splits" in rejection(tree)
    images = found(tree, splits={"train": "extra", "test": "./test"}).encoded
    assert names(images) == {"train": "extra", "test": "test"}
    assert left_out(images) == {(None, "images outside the splits"): 6}
    assert images.left_out[0].examples[0] == "train/ant/0.png"


def test_folder_without_images_beside_train_is_left_out(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("train"), "annotations/a.xml", "README.md")
    assert left_out(found(tree).encoded) == {(None, ".xml files"): 1, (None, ".md files"): 1}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"train": "no"}, "data.splits.train must be a folder in data.source, got 'no'"),
        ({"train": "docs"}, "must hold images, 'docs' has none (1 .txt file)"),
        ({"train": "a", "test": "a/ant"}, "none lies in another, test"),
        ({"train": "../tree"}, "must be a folder in data.source, got '../tree'"),
    ],
)
def test_chosen_folder_must_hold_images_of_its_own(
    tmp_path: Path, chosen: dict[str, str], said: str
) -> None:
    tree = touch(tmp_path / "tree", *classes("a"), "docs/x.txt")
    assert said in rejection(tree, splits=chosen)


def test_same_folders_under_unknown_names_are_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("learn"), *classes("check"))
    assert "(check, learn) are called like none; say which is which" in rejection(tree)
    images = found(tree, splits={"train": "learn", "test": "check"}).encoded
    assert counts(images) == {"train": BOTH, "test": BOTH}


def test_splits_without_train_are_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("test"), *classes("val"))
    assert "must have a train split, it has test, val; name the splits" in rejection(tree)


def test_classes_that_all_look_like_splits_are_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("train", names=["train", "val"]), *classes("test"))
    assert "must be classes, they are called like splits (train, val)" in rejection(tree)


@pytest.mark.parametrize("flat", [["train/cat.0.jpg", "test1/1.jpg"], ["images/1.jpg"], ["1.jpg"]])
def test_pictures_side_by_side_are_rejected(tmp_path: Path, flat: list[str]) -> None:
    said = rejection(touch(tmp_path / "tree", *flat))
    assert "must lie in one folder for each class, they lie side by side" in said
    assert "data.label_file" in said


def test_unlabelled_images_are_left_out_by_split(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("train"), "train/x.jpg", "test/images/1.jpg")
    images = found(tree).encoded
    assert counts(images) == {"train": BOTH}
    assert left_out(images) == {
        ("test", "images outside class folders"): 1,
        ("train", "images outside class folders"): 1,
    }


def test_tiny_imagenet_as_it_is_downloaded(tmp_path: Path) -> None:
    train = [
        f"train/{name}/{file}" for name in ("n1", "n2") for file in ("images/0.JPEG", "b.txt")
    ]
    tree = touch(tmp_path / "tree", *train, "val/images/0.JPEG", "val/val_annotations.txt")
    images = found(tree).encoded
    assert counts(images) == {"train": {"n1": 1, "n2": 1}}
    assert left_out(images) == {
        ("train", ".txt files"): 2,
        ("val", ".txt files"): 1,
        ("val", "images outside class folders"): 1,
    }


def test_nested_classes_are_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "animals/cat/0.png", "animals/dog/0.png", "plants/rose/0.png")
    said = rejection(tree)
    assert "animals' must hold its images itself, it holds folders of images (cat, dog)" in said
    assert "if they are the classes" in said and "parts of one class" in said


def test_one_folder_that_holds_all_images_of_a_class_belongs_to_it(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("."), "cat/images/0.png")
    assert counts(found(tree).encoded) == {"train": {"ant": 3, "bee": 3, "cat": 1}}


def test_masks_beside_the_images_of_a_class_are_not_trained_on(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("."), "ant/masks/0.png")
    said = rejection(tree)
    assert "ant' must hold its images itself, it holds folders of images (masks)" in said
    assert said.endswith("if they are masks or the like, move them away")


def test_picture_beside_the_class_folders_of_unknown_splits_does_not_hide_them(
    tmp_path: Path,
) -> None:
    pictures = [f"{site}/{name}/0.png" for site in ("site1", "site2") for name in ("cat", "dog")]
    tree = touch(tmp_path / "tree", *pictures, "site1/montage.png", "site2/montage.png")
    assert "those of '" in (said := rejection(tree)) and "are called like none" in said


def test_folder_called_like_a_split_among_classes_is_rejected_until_said(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("."), "test/0.png")
    assert "it lies among classes and is called like the test split" in rejection(tree)
    images = found(tree, splits={"train": "."}).encoded
    assert counts(images) == {"train": BOTH | {"test": 1}}


def test_class_called_train_is_a_class(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes(".", names=["bus", "car", "train"]))
    assert found(tree).encoded.class_names == ("bus", "car", "train")


@pytest.mark.parametrize("others", [["sample/0.png"], ["bus/0.png", "car/0.png", "train.csv"]])
def test_flat_train_folder_is_no_class_where_it_may_be_the_split(
    tmp_path: Path, others: list[str]
) -> None:
    tree = touch(tmp_path / "tree", "train/0.png", "train/1.png", *others)
    assert "'train' in" in (said := rejection(tree)) and "data.label_file" in said
    assert counts(found(tree, splits={"train": "."}).encoded)["train"]["train"] == 2


def test_split_whose_files_are_no_pictures_is_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("train"), "test/a/0.heic", "test/b/0.heic")
    (tree / "val").mkdir()
    assert "test' must hold images" in (said := rejection(tree)) and "(2 .heic files)" in said


def test_configuration_of_class_folders_is_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("."))
    assert "data.configuration is for tables" in rejection(tree, configuration="small")
