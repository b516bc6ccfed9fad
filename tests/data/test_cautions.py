"""What is said of data that are too small or too uneven for the digits of their scores."""

import pytest

from data.cautions import cautions
from data.sources.encoded_images import LeftOut
from data.statistics import DataDescription, Duplicates

NAMES = ("ant", "bee", "cat", "dog", "eel")


def described(
    train: tuple[int, ...],
    validation: tuple[int, ...],
    test: tuple[int, ...] | None = None,
    *,
    confirmation: tuple[int, ...] | None = None,
) -> DataDescription:
    class_counts = {"train": train, "validation": validation}
    class_counts |= {"confirmation": confirmation} if confirmation else {}
    class_counts["test"] = test or validation
    return DataDescription(
        source="pictures",
        fingerprint="f",
        image_size=8,
        class_names=NAMES[: len(train)],
        counts={split: sum(counts) for split, counts in class_counts.items()},
        origins=dict.fromkeys(class_counts, ""),
        left_out=(),
        left_out_by_settings=(),
        class_counts=class_counts,
        image_modes={},
        original_sizes={},
        dropped_counts={},
        dropped={},
        duplicates=Duplicates(within={}, across={}, n_groups=0, n_contradicting=0, examples=()),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


def test_data_that_are_large_and_even_enough_have_no_caution() -> None:
    assert cautions(described((10, 1000), (10, 190))) == []


def left_out_by_settings(split: str | None, reason: str, count: int) -> DataDescription:
    one = LeftOut(split=split, reason=reason, count=count)
    return described((10, 1000), (10, 190)).model_copy(update={"left_out_by_settings": (one,)})


CASES = {
    "classes left out": (
        left_out_by_settings(
            None, "images of 2 of the 12 classes (yak, zebra), for data.n_classes=10", 1200
        ),
        "settings leave out 1,200 images of 2 of the 12 classes (yak, zebra), for "
        "data.n_classes=10",
    ),
    "images left out": (
        left_out_by_settings("learn", "beyond data.train_limit=100", 1),
        "settings leave out 1 image of 'learn' beyond data.train_limit=100",
    ),
    "uneven": (
        described((30, 40_000), (100, 100)),
        "training images are uneven, 1 to 1,333: 30 of ant, 40,000 of bee; accuracy hides the "
        "rare classes, macro-F1 shows them",
    ),
    "a few to learn from": (
        described((9, 100, 1, 8, 7), (40,) * 5),
        "4 of 5 classes have fewer than 10 training images: cat (1), eel (7), dog (8) and 1 more",
    ),
    "one to learn from": (
        described((100, 1), (100, 100)),
        "1 of 2 classes has fewer than 10 training images: bee (1)",
    ),
    "missing": (
        described((50, 50, 50), (100, 0, 100), (0, 0, 200)),
        "no image of bee in validation, no image of ant, bee in test: macro-F1 there is the mean "
        "over the classes present",
    ),
    "missing in both": (
        described((50, 50), (200, 0), (300, 0)),
        "no image of bee in validation and test: macro-F1 there is the mean over the classes "
        "present",
    ),
    "missing in all": (
        described((50, 50), (200, 0), (300, 0), confirmation=(200, 0)),
        "no image of bee in validation, confirmation and test: macro-F1 there is the mean over "
        "the classes present",
    ),
    "missing in two of three": (
        described((50, 50), (200, 100), (300, 0), confirmation=(200, 0)),
        "no image of bee in confirmation and test: macro-F1 there is the mean over the classes "
        "present",
    ),
    "no confirmation": (
        described((50, 50), (200, 200)).model_copy(update={"lacks_confirmation": True}),
        "no confirmation images, for no class has two validation images to divide: a winner can "
        "only be judged by the images that chose it; data.confirm_fraction=0.1 takes some from "
        "train",
    ),
    "few to confirm on": (
        described((50, 50), (100, 100), confirmation=(90, 90)),
        "confirmation has 180 images of 2 classes, one changes accuracy by 0.56 points",
    ),
    "few of a class": (
        described((50, 50), (2, 200), (9, 200)),
        "1 class in validation and 1 class in test with fewer than 10 images, the fewest 2: their "
        "recall has a standard error of up to 35 points",
    ),
    "few altogether": (
        described((50, 50), (60, 60), (100, 100)),
        "validation has 120 images of 2 classes, one changes accuracy by 0.83 points",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_caution_of_each_kind_is_one_line_with_the_figure(case: str) -> None:
    data, line = CASES[case]
    assert cautions(data) == [line]


def test_three_validation_images_are_said_in_few_lines() -> None:
    found = cautions(described((1, 3), (0, 3), (0, 1)))
    assert len(found) == 4
    assert found[-1] == (
        "validation has 3 images of 1 class, one changes accuracy by 33 points; "
        "test has 1 image of 1 class, one changes accuracy by 100 points"
    )


def test_split_held_out_although_the_source_has_one_is_said() -> None:
    data = described((500, 500), (100, 100)).model_copy(
        update={
            "origins": {"train": "Train", "validation": "Val", "test": "10% held out from Train"},
            "left_out": (
                LeftOut(split="a/Final_Test", reason="images outside class folders", count=9),
                LeftOut(split="Val", reason="images outside class folders", count=1),
                LeftOut(split="Test", reason=".txt files", count=1),
            ),
        }
    )
    assert cautions(data) == [
        "test is 10% held out from Train, for 9 of 'a/Final_Test' are not used: images outside "
        "class folders"
    ]
