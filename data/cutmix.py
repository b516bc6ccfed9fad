"""CutMix: a rectangle of every image of a batch comes from another image, with its class.

There is one draw for each batch, and the other image is the one before in the batch, whose order
is random already; both as in torchvision. What is drawn is apart from how it is applied, as in
`data/augmentation.py`. May import torch, must not read files.

Source: Yun et al. 2019 (arXiv 1905.04899).

Shapes: B images of a batch, C channels, H height, W width.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.configuration import AugmentationConfig

MixedBatch = tuple[Tensor, Tensor, Tensor, float]
"""Images (B, 3, H, W), their classes (B,), those of the rectangles (B,), share of the first."""


@dataclass(frozen=True)
class Patch:
    """The rectangle that is replaced, in whole pixels."""

    rows: slice
    columns: slice
    kept: float
    """The share of the image outside of it."""


def draw_patches(
    config: AugmentationConfig, *, n_batches: int, image_size: int, generator: torch.Generator
) -> list[Patch | None]:
    """Draws a rectangle for each batch that is to be mixed, and nothing for the others.

    Args:
        config: how often, and how large.
        n_batches: how many draws.
        image_size: height and width of the images, in pixels.
        generator: a CPU generator.
    """
    is_mixed = torch.rand(n_batches, generator=generator) < config.cutmix_probability
    centres = torch.randint(image_size, (n_batches, 2), generator=generator)
    # torch draws from Beta with its global generator only.
    seed = int(torch.randint(2**62, (), generator=generator))
    alpha = config.cutmix_alpha
    kept = np.random.default_rng(seed).beta(alpha, alpha, n_batches)
    return [
        _patch(centre, float(share), image_size) if mixed else None
        for mixed, centre, share in zip(is_mixed.tolist(), centres.tolist(), kept, strict=True)
    ]


def mix(images_BCHW: Tensor, labels_B: Tensor, patch: Patch) -> MixedBatch:
    """Replaces the rectangle of every image by that of the image before; the first by the last's.

    Args:
        images_BCHW: a batch, which stays as it is.
        labels_B: its classes.
        patch: the rectangle.
    """
    within = (slice(None), slice(None), patch.rows, patch.columns)
    mixed_BCHW = images_BCHW.clone()
    mixed_BCHW[within] = images_BCHW[within].roll(1, 0)
    return mixed_BCHW, labels_B, labels_B.roll(1, 0), patch.kept


def _patch(centre: tuple[int, int], kept: float, image_size: int) -> Patch:
    """A square that leaves about the given share, cut where it leaves the image."""
    half = int(0.5 * math.sqrt(1 - kept) * image_size)
    rows, columns = (
        slice(max(0, middle - half), min(image_size, middle + half)) for middle in centre
    )
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Patch(rows, columns, 1 - area / image_size**2)
