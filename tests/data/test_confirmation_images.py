"""Confirmation images as they are decoded and described, and entries that have none."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.cautions import cautions
from data.configuration import DataConfig
from data.errors import BrokenImageError, DataError
from data.image_cache import prepare
from data.splits import choose_rows
from data.statistics import DataDescription
from tests.data.pictures import encoded, picture, write_table, write_tree
from tests.data.test_splits import names


def test_confirmation_images_are_prepared_and_described(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", n_per_class=20)
    config = DataConfig(source=str(tree), cache=tmp_path / "cache", image_size=8)
    prepared = prepare(config)
    described, confirmation = prepared.description, prepared.confirmation()
    assert confirmation is not None
    assert list(described.counts) == ["train", "validation", "confirmation", "test"]
    assert described.counts["confirmation"] == len(confirmation.labels_N) == 3
    assert described.origins["confirmation"] == f"half of the {described.origins['validation']}"
    assert not described.lacks_confirmation
    spared = prepare(config.model_copy(update={"confirm_fraction": 0.2})).description
    assert spared.counts == {"train": 36, "validation": 6, "confirmation": 12, "test": 6}
    assert spared.origins["confirmation"] == f"20% held out from {spared.origins['train']}"


def test_without_confirmation_images_the_entry_is_as_before(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    source, cache = str(tree), tmp_path / "cache"
    prepared = prepare(DataConfig(source=source, cache=cache, image_size=8, confirm_fraction=0))
    assert prepared.confirmation() is None
    assert list(prepared.description.counts) == ["train", "validation", "test"]
    assert not list(prepared.folder.glob("confirmation*"))
    stored = (prepared.folder / "description.json").read_text()
    assert "lacks_confirmation" not in json.loads(stored)
    assert DataDescription.model_validate_json(stored) == prepared.description
    assert not any("confirmation" in line for line in cautions(prepared.description))


def test_data_that_spare_no_confirmation_images_say_so(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")  # one validation image of each class
    for _ in range(2):  # decoded, then found
        prepared = prepare(DataConfig(source=str(tree), cache=tmp_path / "cache", image_size=8))
        assert prepared.confirmation() is None
        lines = cautions(prepared.description)
        assert [line.startswith("no confirmation images, for ") for line in lines].count(True) == 1


def test_copies_are_counted_between_confirmation_and_every_other_split(tmp_path: Path) -> None:
    contents = [encoded(picture(7))] * 30
    for name in ("train", "valid", "test"):
        write_table(tmp_path / "hub", name, [0, 1, 2] * 10, contents=contents)
    config = DataConfig(source=str(tmp_path / "hub"), cache=tmp_path / "cache", image_size=8)
    found = prepare(config).description.duplicates
    assert found.across["confirmation"] == {"train": 15, "validation": 15}
    assert found.across["test"] == {"train": 30, "validation": 30, "confirmation": 30}


def test_broken_confirmation_images_are_named_or_dropped(tmp_path: Path) -> None:
    labels = [0, 1, 2] * 2
    rows = choose_rows(
        {"train": np.array(labels), "validation": np.array(labels)}, names(3), config=DataConfig()
    )["confirmation"].rows_N
    good = [encoded(picture(n)) for n in range(len(labels))]
    contents = [b"no picture" if n in rows else one for n, one in enumerate(good)]
    hub = write_table(tmp_path / "hub", "train", labels)
    write_table(hub, "test", labels)
    write_table(hub, "valid", labels, contents=contents)
    config = DataConfig(source=str(hub), cache=tmp_path / "cache", image_size=8)
    with pytest.raises(BrokenImageError, match=f"3 images cannot .* row {rows[0]}: "):
        prepare(config)
    with pytest.raises(DataError, match=r"confirmation must .* set data\.confirm_fraction=0$"):
        prepare(config.model_copy(update={"broken_images": "drop"}))
    contents[rows[0]] = good[rows[0]]
    write_table(hub, "valid", labels, contents=contents)
    described = prepare(config.model_copy(update={"broken_images": "drop"})).description
    assert described.counts["confirmation"] == 1
    assert described.dropped_counts["confirmation"] == 2
