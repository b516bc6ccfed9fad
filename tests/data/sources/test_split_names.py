"""Splits are recognised by the names that people give them."""

import pytest

from data.errors import DataError
from data.sources.split_names import match_splits, name_splits, split_of


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Train TRAIN training training_set seg_train Final_Training train_images"),
        ("train", "TrainImages train-2 trainset data_train"),
        ("validation", "validation Validation valid val VAL dev val_data ValidationSet"),
        ("test", "test Test test1 testing test_set seg_test Final_Test eval evaluation"),
        (None, "cat extra trainval train_test 0 n01443537 images contest latest trains masks"),
    ],
)
def test_name_means_its_split_in_any_case_with_plain_words(split: str | None, names: str) -> None:
    assert {name: split_of(name) for name in names.split()} == dict.fromkeys(names.split(), split)


def test_words_that_all_names_share_are_ignored() -> None:
    shared = name_splits(["asl_alphabet_train", "asl_alphabet_test"])
    assert shared == {"asl_alphabet_train": "train", "asl_alphabet_test": "test"}
    assert name_splits(["bullet train", "test tube"]) == {"bullet train": None, "test tube": None}
    assert name_splits(["steam train", "bullet train"]) == dict.fromkeys(
        ("steam train", "bullet train")
    )


def test_two_names_of_one_split_are_rejected_until_chosen() -> None:
    with pytest.raises(DataError, match=r"one train split, it has 'Train' and 'training'.*splits"):
        match_splits(["Train", "training", "test"], source="x")
    chosen = match_splits(["Train", "training", "test"], source="x", chosen={"train": "Train"})
    assert chosen == {"train": "Train"}


def test_chosen_split_that_is_missing_is_rejected_with_those_there() -> None:
    with pytest.raises(
        DataError, match=r"data\.splits\.test must be .* 'x', got 'no'; it has a, b"
    ):
        match_splits(["a", "b"], source="x", chosen={"train": "a", "test": "no"})
