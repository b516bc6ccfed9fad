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
    assert prepared.description.counts == {"train": 2700, "validation": 500, "test": 300}
    assert prepared.description.class_counts["train"] == (270,) * len(CLASS_NAMES)


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
