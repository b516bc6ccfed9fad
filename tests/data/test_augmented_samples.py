"""Pictures of augmentation, as they are shown in the data report."""

import numpy as np
import pytest

from data.augmented_samples import AugmentedSamples, draw_samples
from data.configuration import AugmentationConfig
from data.image_cache import Examples

STRONG = AugmentationConfig(crop="resized", brightness=0.4, hue=0.1)
NONE = AugmentationConfig(flip_probability=0.0)


@pytest.fixture(scope="module")
def examples() -> Examples:
    images_NHWC = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    return Examples(images_NHWC, np.arange(20))


def draw(examples: Examples, config: AugmentationConfig, *, seed: int = 1) -> AugmentedSamples:
    return draw_samples(examples, config, seed=seed, n_images=5, n_draws=3)


def test_samples_are_images_of_the_split_beside_variations_of_the_same(
    examples: Examples,
) -> None:
    samples = draw(examples, NONE)
    assert (samples.before_NHWC == examples.images_NHWC[samples.labels_N]).all()
    assert (samples.after_NDHWC == samples.before_NHWC[:, None]).all()
    assert samples.after_NDHWC.shape == (5, 3, 8, 8, 3)
    assert samples.after_NDHWC.dtype == np.uint8


def test_samples_follow_the_seed_and_nothing_else(examples: Examples) -> None:
    first, again, other = (draw(examples, STRONG, seed=seed) for seed in (1, 1, 2**40))
    assert (first.after_NDHWC == again.after_NDHWC).all()
    assert not (first.after_NDHWC == other.after_NDHWC).all()
    assert not (first.after_NDHWC[:, 0] == first.after_NDHWC[:, 1]).all()


def test_samples_of_few_images_are_all_of_them(examples: Examples) -> None:
    few = Examples(examples.images_NHWC[:2], examples.labels_N[:2])
    assert draw(few, STRONG).labels_N.tolist() == [0, 1]
