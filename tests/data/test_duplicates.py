"""Duplicates, counted by digests and found again in real folders of pictures."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.configuration import DataConfig
from data.duplicates import MOST_COPIES, DuplicateCounts, count_duplicates
from data.image_cache import prepare
from tests.data.pictures import picture, write_tree

SPLITS = ("train", "validation", "test")
IMAGE = st.tuples(st.integers(0, 6) | st.just(2**64 - 1), st.integers(0, 2))
DATA_SET = st.tuples(*[st.lists(IMAGE, min_size=1, max_size=12)] * len(SPLITS))


def count(images: tuple[list[tuple[int, int]], ...], *, most_groups: int = 99) -> DuplicateCounts:
    named = dict(zip(SPLITS, images, strict=True))
    digests = {split: np.array([i[0] for i in named[split]], dtype=np.uint64) for split in SPLITS}
    labels = {split: np.array([i[1] for i in named[split]], dtype=np.int64) for split in SPLITS}
    return count_duplicates(digests, labels, most_groups=most_groups)


@given(DATA_SET)
def test_counts_are_those_of_comparing_every_pair(
    images: tuple[list[tuple[int, int]], ...],
) -> None:
    counted = count(images)
    digests = {split: [d for d, _ in found] for split, found in zip(SPLITS, images, strict=True)}
    for split in SPLITS:
        repeats = [d in digests[split][:n] for n, d in enumerate(digests[split])]
        assert counted.within[split] == sum(repeats)
    for later, shared in counted.across.items():
        assert list(shared) == list(SPLITS[: SPLITS.index(later)])
        for earlier, n_shared in shared.items():
            assert n_shared == sum(d in digests[earlier] for d in digests[later])
    everything = [image for found in images for image in found]
    repeated = {d for d, n in Counter(d for d, _ in everything).items() if n > 1}
    classes = [{label for d, label in everything if d == one} for one in repeated]
    assert counted.n_groups == len(repeated)
    assert counted.n_contradicting == sum(len(labels) > 1 for labels in classes)


@given(DATA_SET)
def test_groups_hold_equal_images_and_those_across_splits_come_first(
    images: tuple[list[tuple[int, int]], ...],
) -> None:
    counted = count(images)
    at = {
        (split, position): digest
        for split, found in zip(SPLITS, images, strict=True)
        for position, (digest, _) in enumerate(found)
    }
    n_copies = Counter(at.values())
    is_across = []
    for group in counted.groups:
        (digest,) = {at[copy] for copy in group.copies}
        assert group.n_copies == n_copies[digest]
        by_split = Counter(split for split, _ in group.copies)
        assert max(by_split.values()) <= MOST_COPIES
        assert set(by_split) == {split for (split, _), found in at.items() if found == digest}
        is_across.append(len(by_split) > 1)
    assert is_across == sorted(is_across, reverse=True)
    assert count(images, most_groups=2).groups == counted.groups[:2]


def test_copies_are_found_however_they_are_stored_and_named(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    grey = picture(7, mode="L")
    grey.save(tree / "ant" / "grey.png")
    grey.convert("RGB").save(tree / "bee" / "colour.bmp")
    config = DataConfig(source=str(tree), cache=tmp_path / "cache", image_size=8)
    prepared = prepare(config)
    found = prepared.description.duplicates
    assert (found.n_groups, found.n_contradicting) == (1, 1)
    assert sum(found.within.values()) + found.n_across == 1
    (example,) = found.examples
    assert example.n_copies == 2
    assert {Path(copy.name).name for copy in example.copies} == {"grey.png", "colour.bmp"}
    splits = {"train": prepared.train(), "validation": prepared.validation()}
    splits["test"] = prepared.test()
    first, second = [splits[copy.split].images_NHWC[copy.position] for copy in example.copies]
    assert (first == second).all()
    for copy in example.copies:
        assert prepared.class_names[copy.label] == Path(copy.name).parent.name
        assert splits[copy.split].labels_N[copy.position] == copy.label


@pytest.mark.parametrize("size", [(16, 16), (8, 16)])
def test_pictures_that_are_alike_only_when_small_are_no_copies(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    tree = write_tree(tmp_path / "tree")
    small = picture(7, size=(8, 8))
    small.save(tree / "ant" / "small.png")
    small.resize(size, 0).save(tree / "ant" / "large.png")
    config = DataConfig(source=str(tree), cache=tmp_path / "cache", image_size=8)
    assert prepare(config).description.duplicates.n_groups == 0
