"""Order and augmentation follow (seed, epoch) only; every image comes once."""

from typing import Any

import numpy as np
import pytest
import torch

from data.batches import EvaluationBatches, TrainBatches
from data.configuration import AugmentationConfig
from data.image_cache import Examples

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
CPU = torch.device("cpu")
PLAIN = AugmentationConfig(flip_probability=0)


def examples(n_images: int) -> Examples:
    random = np.random.default_rng(0)
    images_NHWC = random.integers(0, 256, (n_images, 8, 8, 3), dtype=np.uint8)
    return Examples(images_NHWC, np.arange(n_images))


def train_batches(n_images: int = 10, **changes: Any) -> TrainBatches:
    values = {"batch_size": 4, "seed": 3, "augmentation": PLAIN} | changes
    return TrainBatches(examples(n_images), mean=MEAN, std=STD, device=CPU, **values)


@pytest.mark.parametrize(
    ("n_images", "batch_size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 4]), (8, 4, [4, 4]), (3, 8, [3]), (3, 1, [1, 1, 1])],
)
def test_epoch_has_every_image_once_but_no_last_batch_of_one(
    n_images: int, batch_size: int, sizes: list[int]
) -> None:
    batches = train_batches(n_images, batch_size=batch_size)
    labels = [labels_B for _, labels_B in batches(1)]
    assert [len(labels_B) for labels_B in labels] == sizes
    assert batches.n_batches == len(sizes)
    assert len(torch.cat(labels).unique()) == sum(sizes)


def test_epoch_repeated_is_bit_equal_whatever_was_drawn_before() -> None:
    config = AugmentationConfig(crop="resized", brightness=0.4, hue=0.1)
    batches = train_batches(augmentation=config)
    next(batches(1))
    list(batches(2))
    torch.manual_seed(99)
    pairs = zip(batches(3), train_batches(augmentation=config)(3), strict=True)
    for (images_BCHW, labels_B), (again_BCHW, again_B) in pairs:
        assert images_BCHW.equal(again_BCHW)
        assert labels_B.equal(again_B)


def test_epochs_and_seeds_give_different_orders() -> None:
    orders = [
        torch.cat([labels_B for _, labels_B in train_batches(50, seed=seed)(epoch)]).tolist()
        for seed, epoch in ((3, 1), (3, 2), (4, 1))
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_images_are_normalised_channels_last_and_match_their_labels() -> None:
    source = examples(10)
    for images_BCHW, labels_B in train_batches()(1):
        assert images_BCHW.is_contiguous(memory_format=torch.channels_last)
        assert images_BCHW.dtype == torch.float32
        scaled_BHWC = source.images_NHWC[labels_B.numpy()] / 255
        expected_BHWC = (scaled_BHWC - MEAN) / STD
        torch.testing.assert_close(
            images_BCHW.permute(0, 2, 3, 1).double(),
            torch.from_numpy(expected_BHWC),
            atol=1e-5,
            rtol=0,
        )


def test_images_normalised_before_their_colours_change_lie_within_0_and_1() -> None:
    defect = AugmentationConfig(crop="resized", contrast=0.4, after_normalisation=True)
    for images_BCHW, _ in train_batches(augmentation=defect)(1):
        assert images_BCHW.is_contiguous(memory_format=torch.channels_last)
        assert images_BCHW.min() == 0 and images_BCHW.max() == 1
    right = defect.model_copy(update={"after_normalisation": False})
    assert min(images_BCHW.min() for images_BCHW, _ in train_batches(augmentation=right)(1)) < -1


def test_evaluation_batches_keep_order_and_every_image() -> None:
    batches = EvaluationBatches(examples(9), batch_size=4, mean=MEAN, std=STD, device=CPU)
    for _ in range(2):
        labels = [labels_B for _, labels_B in batches()]
        assert [len(labels_B) for labels_B in labels] == [4, 4, 1]
        assert torch.cat(labels).tolist() == list(range(9))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_on_a_gpu_equal_those_on_the_cpu() -> None:
    config = AugmentationConfig(
        crop="resized", brightness=0.4, contrast=0.4, hue=0.1, cutmix_probability=0.5
    )
    common = {"batch_size": 4, "seed": 3, "augmentation": config, "mean": MEAN, "std": STD}
    on_cpu = TrainBatches(examples(30), device=CPU, n_epochs=2, **common)
    on_gpu = TrainBatches(examples(30), device=torch.device("cuda"), n_epochs=2, **common)
    for cpu, gpu in zip(on_cpu(1), on_gpu(1), strict=True):
        torch.testing.assert_close(cpu[0], gpu[0].cpu(), atol=1e-3, rtol=0)
        assert all(one.equal(two.cpu()) for one, two in zip(cpu[1:3], gpu[1:3], strict=True))
