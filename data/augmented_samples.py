"""A few training images before and after augmentation, for people to look at.

Draws of their own, as of an epoch before the first: no run trains on these very pictures. May
import torch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data.augmentation import augment, draw_parameters
from data.configuration import AugmentationConfig
from data.image_cache import Examples


@dataclass(frozen=True)
class AugmentedSamples:
    """Images before and after, uint8 RGB; N images, D draws of each."""

    labels_N: NDArray[np.int64]
    before_NHWC: NDArray[np.uint8]
    after_NDHWC: NDArray[np.uint8]


def draw_samples(
    examples: Examples, config: AugmentationConfig, *, seed: int, n_images: int, n_draws: int
) -> AugmentedSamples:
    """Varies a few images, each several times; the same seed gives the same pictures.

    Args:
        examples: uint8 images and their classes, of which some are chosen at random.
        config: how images are varied.
        seed: not negative.
        n_images: how many images, or all where there are fewer.
        n_draws: how many variations of each.
    """
    random = np.random.default_rng([seed, 0])
    n_images = min(n_images, len(examples.labels_N))
    rows_N = np.sort(random.choice(len(examples.labels_N), n_images, replace=False))
    before_NHWC = np.array(examples.images_NHWC[rows_N])
    generator = torch.Generator().manual_seed(int(random.integers(2**63)))
    parameters = draw_parameters(
        config,
        n_images=n_images * n_draws,
        image_size=before_NHWC.shape[1],
        generator=generator,
    )
    repeated_BCHW = torch.from_numpy(before_NHWC.repeat(n_draws, axis=0)).permute(0, 3, 1, 2)
    after_BCHW = augment(repeated_BCHW.float() / 255, parameters)
    after_BHWC = (after_BCHW.permute(0, 2, 3, 1) * 255).round().clamp(0, 255).byte().numpy()
    return AugmentedSamples(
        examples.labels_N[rows_N],
        before_NHWC,
        after_BHWC.reshape(n_images, n_draws, *before_NHWC.shape[1:]),
    )
