"""The embedded data set is whole, repeatable and not told apart by colour."""

import numpy as np
import pytest

from data.configuration import DataConfig
from data.image_cache import PreparedData, prepare
from data.sources.synthetic import CLASS_NAMES, draw_images


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare(DataConfig(image_size=16, cache=tmp_path_factory.mktemp("cache")))


def test_synthetic_is_split_and_balanced(prepared: PreparedData) -> None:
    counts = {"train": 2700, "validation": 250, "confirmation": 250, "test": 300}
    assert prepared.description.counts == counts
    assert prepared.description.class_counts["train"] == (270,) * len(CLASS_NAMES)


def test_without_confirmation_images_they_are_the_data_of_the_version_before(
    prepared: PreparedData,
) -> None:
    """The fingerprint of that version, to the digit: its studies go on with it."""
    limits = {"train_limit": 40, "validation_limit": 16, "test_limit": 8, "n_classes": 4}
    values = {"image_size": 8, "cache": prepared.folder.parent, "confirm_fraction": 0, **limits}
    earlier = prepare(DataConfig.model_validate(values))
    assert earlier.fingerprint == "f00409982296f517ac96423d77c9cb78"
    assert earlier.description.counts == {"train": 40, "validation": 16, "test": 8}
    others = [
        prepare(DataConfig.model_validate(values | {"confirm_fraction": one}))
        for one in (None, 0.1)
    ]
    assert len({earlier.fingerprint, *(one.fingerprint for one in others)}) == 3


def test_synthetic_has_some_grey_pictures(prepared: PreparedData) -> None:
    modes = prepared.description.image_modes["train"]
    assert set(modes) == {"RGB", "L"}
    assert 0.01 < modes["L"] / 2700 < 0.04


def test_synthetic_classes_are_not_told_apart_by_mean_colour(prepared: PreparedData) -> None:
    train, validation = prepared.train(), prepared.validation()
    means_NC = train.images_NHWC.mean(axis=(1, 2))
    centres_KC = np.array([means_NC[train.labels_N == k].mean(axis=0) for k in range(10)])
    colours_NC = validation.images_NHWC.mean(axis=(1, 2))
    nearest_N = ((colours_NC[:, None] - centres_KC) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest_N == validation.labels_N).mean() < 0.2


def test_drawing_from_the_same_seed_gives_the_same_pictures() -> None:
    labels_N = np.arange(10)
    first, again, other = (
        draw_images(labels_N, random=np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()
