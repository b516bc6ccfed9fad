"""CutMix against torchvision's, and how often and how long it is applied."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import CutMix

from data.batches import TrainBatches
from data.configuration import AugmentationConfig
from data.cutmix import Patch, draw_patches, mix
from data.image_cache import Examples

SIZE = 12


def draw(n_batches: int = 500, *, seed: int = 0, **changes: Any) -> list[Patch | None]:
    config = AugmentationConfig.model_validate({"cutmix_probability": 1.0} | changes)
    generator = torch.Generator().manual_seed(seed)
    return draw_patches(config, n_batches=n_batches, image_size=SIZE, generator=generator)


def train_batches(**changes: Any) -> TrainBatches:
    """Forty images, each in a colour of its own that tells its label, in ten batches."""
    colours_N111 = np.arange(40, dtype=np.uint8)[:, None, None, None] * 6
    return TrainBatches(
        Examples(np.tile(colours_N111, (1, SIZE, SIZE, 3)), np.arange(40)),
        batch_size=4,
        seed=3,
        augmentation=AugmentationConfig.model_validate({"crop": "none"} | changes),
        mean=(0, 0, 0),
        std=(1, 1, 1),
        device=torch.device("cpu"),
        n_epochs=8,
    )


@given(st.integers(0, 1000), st.floats(0.2, 4.0))
@settings(max_examples=50)
def test_mix_agrees_with_torchvision(seed: int, alpha: float) -> None:
    (patch,) = draw(1, seed=seed, cutmix_alpha=alpha)
    assert patch is not None
    images_BCHW = torch.rand(5, 3, SIZE, SIZE)
    labels_B = torch.arange(5)
    box = (patch.columns.start, patch.rows.start, patch.columns.stop, patch.rows.stop)
    params = {"box": box, "labels": labels_B, "batch_size": 5, "lam_adjusted": patch.kept}
    peer = CutMix(num_classes=5)
    mixed_BCHW, own_B, other_B, share = mix(images_BCHW, labels_B, patch)
    assert mixed_BCHW.equal(peer.transform(images_BCHW, params))
    targets_BC = torch.eye(5)[own_B] * share + torch.eye(5)[other_B] * (1 - share)
    torch.testing.assert_close(targets_BC, peer.transform(labels_B, params))


@given(st.integers(0, 1000))
@settings(max_examples=30)
def test_share_is_the_part_of_the_pixels_that_the_first_class_has(seed: int) -> None:
    (patch,) = draw(1, seed=seed)
    assert patch is not None
    images_BCHW = torch.arange(4.0)[:, None, None, None].expand(4, 3, SIZE, SIZE)
    mixed_BCHW, labels_B, others_B, share = mix(images_BCHW, torch.arange(4), patch)
    for image_CHW, label, other in zip(mixed_BCHW, labels_B, others_B, strict=True):
        assert (image_CHW == label).float().mean().item() == pytest.approx(share)
        assert (image_CHW == other).float().mean().item() == pytest.approx(1 - share)


def test_patches_are_as_frequent_and_as_large_as_configured() -> None:
    half = draw(cutmix_probability=0.5)
    assert 0.4 < sum(patch is not None for patch in half) / 500 < 0.6
    shares = [patch.kept for patch in draw() if patch is not None]
    # 0.68 for squares of a uniform share, cut at the border; whole pixels are rounded down.
    assert 0.66 < np.mean(shares) < 0.8
    narrow = [patch.kept for patch in draw(cutmix_alpha=100) if patch is not None]
    assert np.std(narrow) < 0.7 * np.std(shares)


def test_batches_are_mixed_until_the_configured_part_of_the_run_and_follow_the_epoch() -> None:
    batches = train_batches(cutmix_probability=0.6)
    n_mixed = [sum(len(batch) == 4 for batch in batches(epoch)) for epoch in range(1, 9)]
    assert all(0 < n < 10 for n in n_mixed[:6])
    assert n_mixed[6:] == [0, 0]
    list(batches(1))
    torch.manual_seed(5)
    pairs = zip(batches(4), train_batches(cutmix_probability=0.6)(4), strict=True)
    for batch, again in pairs:
        assert len(batch) == len(again)
        assert all(torch.equal(one, two) for one, two in zip(batch[:3], again[:3], strict=True))
        assert batch[3:] == again[3:]


def test_order_and_augmentation_are_those_of_a_run_without_cutmix() -> None:
    plain, mixed = train_batches(hue=0.2), train_batches(hue=0.2, cutmix_probability=0.5)
    n_same = 0
    for one, other in zip(plain(1), mixed(1), strict=True):
        assert one[1].equal(other[1])
        n_same += len(other) == 2 and one[0].equal(other[0])
    assert 0 < n_same < 10


def test_cutmix_without_the_length_of_the_run_is_rejected() -> None:
    with pytest.raises(ValueError, match="n_epochs must be the length of the run"):
        TrainBatches(
            Examples(np.zeros((4, 8, 8, 3), np.uint8), np.arange(4)),
            batch_size=4,
            seed=3,
            augmentation=AugmentationConfig(cutmix_probability=0.5),
            mean=(0, 0, 0),
            std=(1, 1, 1),
            device=torch.device("cpu"),
        )
