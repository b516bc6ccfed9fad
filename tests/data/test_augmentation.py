"""Whole-batch augmentation against torchvision, image by image."""

import torch
import torchvision.transforms.v2.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import RandomResizedCrop

from data.augmentation import (
    AugmentationParameters,
    augment,
    augment_normalised,
    draw_parameters,
)
from data.configuration import AugmentationConfig

SIZE = 24
CONFIGS = st.builds(
    AugmentationConfig,
    flip_probability=st.sampled_from([0.0, 0.5, 1.0]),
    crop=st.sampled_from(["none", "padded", "resized"]),
    scale=st.tuples(st.floats(0.05, 0.5), st.floats(0.5, 1.0)),
    ratio=st.tuples(st.floats(0.3, 1.0), st.floats(1.0, 3.0)),
    brightness=st.floats(0, 1.5),
    contrast=st.floats(0, 1.5),
    saturation=st.floats(0, 1.5),
    hue=st.floats(0, 0.5),
)


def draw(config: AugmentationConfig, seed: int, n_images: int = 4) -> AugmentationParameters:
    generator = torch.Generator().manual_seed(seed)
    return draw_parameters(config, n_images=n_images, image_size=SIZE, generator=generator)


def by_torchvision(
    image_CHW: torch.Tensor, config: AugmentationConfig, one: AugmentationParameters
) -> torch.Tensor:
    if one.boxes_N4 is not None:
        box = one.boxes_N4[0].tolist()
        if config.crop == "resized":
            image_CHW = F.resized_crop(image_CHW, *box, [SIZE, SIZE], antialias=True)
        else:
            image_CHW = F.crop(image_CHW, *box)
    if one.is_flipped_N is not None and one.is_flipped_N[0]:
        image_CHW = F.horizontal_flip(image_CHW)
    for factors_N, adjust in (
        (one.brightness_N, F.adjust_brightness),
        (one.contrast_N, F.adjust_contrast),
        (one.saturation_N, F.adjust_saturation),
        (one.hue_N, F.adjust_hue),
    ):
        if factors_N is not None:
            image_CHW = adjust(image_CHW, factors_N[0].item())
    return image_CHW


@given(CONFIGS, st.integers(0, 1000))
@settings(max_examples=50)
def test_augment_agrees_with_torchvision_image_by_image(
    config: AugmentationConfig, seed: int
) -> None:
    images_BCHW = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    parameters = draw(config, seed)
    augmented_BCHW = augment(images_BCHW, parameters)
    for index in range(4):
        one = parameters.of(slice(index, index + 1))
        expected_CHW = by_torchvision(images_BCHW[index], config, one)
        torch.testing.assert_close(augmented_BCHW[index], expected_CHW, atol=1e-4, rtol=0)


def test_augment_of_grey_and_black_images_is_finite_and_stays_grey() -> None:
    images_BCHW = torch.stack([torch.zeros(3, SIZE, SIZE), torch.full((3, SIZE, SIZE), 0.5)])
    parameters = draw(AugmentationConfig(saturation=1.0, hue=0.5), 0, n_images=2)
    augmented_BCHW = augment(images_BCHW, parameters)
    # The weights of grey add up to 0.9999, here as in torchvision.
    torch.testing.assert_close(augmented_BCHW, images_BCHW, atol=1e-4, rtol=0)


@given(st.floats(0.05, 1.0), st.floats(0.3, 3.0), st.integers(0, 100))
def test_resized_boxes_lie_inside_the_image(scale: float, ratio: float, seed: int) -> None:
    config = AugmentationConfig(crop="resized", scale=(scale, scale), ratio=(ratio, ratio))
    boxes_N4 = draw(config, seed, n_images=50).boxes_N4
    assert boxes_N4 is not None
    tops, lefts, heights, widths = boxes_N4.unbind(dim=1)
    assert (boxes_N4[:, :2] >= 0).all()
    assert (heights >= 1).all()
    assert (widths >= 1).all()
    assert (tops + heights <= SIZE).all()
    assert (lefts + widths <= SIZE).all()


def test_resized_boxes_are_distributed_as_torchvision_draws_them() -> None:
    config = AugmentationConfig(crop="resized", scale=(0.2, 1.0), ratio=(0.5, 2.0))
    n = 3000
    ours_N4 = draw(config, 0, n_images=n).boxes_N4
    assert ours_N4 is not None
    torch.manual_seed(0)
    transform = RandomResizedCrop(SIZE, scale=config.scale, ratio=config.ratio)
    image_CHW = torch.zeros(3, SIZE, SIZE)
    drawn = [transform.make_params([image_CHW]) for _ in range(n)]
    theirs_N4 = torch.tensor([[p["top"], p["left"], p["height"], p["width"]] for p in drawn])
    # Standard errors of these means are about 0.1 pixels.
    torch.testing.assert_close(
        ours_N4.float().mean(dim=0), theirs_N4.float().mean(dim=0), atol=0.5, rtol=0
    )
    torch.testing.assert_close(
        ours_N4.float().std(dim=0), theirs_N4.float().std(dim=0), atol=0.4, rtol=0
    )


def test_parameters_are_each_images_own_and_follow_the_generator() -> None:
    config = AugmentationConfig(crop="resized", scale=(0.2, 1.0), brightness=0.4)
    first, again, other = draw(config, 1), draw(config, 1), draw(config, 2)
    assert first.brightness_N is not None
    assert again.brightness_N is not None
    assert other.brightness_N is not None
    assert first.brightness_N.equal(again.brightness_N)
    assert not first.brightness_N.equal(other.brightness_N)
    assert len(first.brightness_N.unique()) == 4


def test_parameters_switched_off_leave_images_alone() -> None:
    images_BCHW = torch.rand(4, 3, SIZE, SIZE)
    parameters = draw(AugmentationConfig(flip_probability=0), 0)
    assert augment(images_BCHW, parameters) is images_BCHW


@given(CONFIGS, st.integers(0, 1000))
@settings(max_examples=30)
def test_augment_normalised_is_clipped_exactly_where_colours_change(
    config: AugmentationConfig, seed: int
) -> None:
    images_BCHW = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    parameters = draw(config, seed)
    augmented_BCHW = augment_normalised(images_BCHW, parameters)
    low, high = augmented_BCHW.aminmax()
    is_clipped = bool(low >= 0) and bool(high <= 1)
    assert is_clipped == bool(
        config.brightness or config.contrast or config.saturation or config.hue
    )


@given(st.floats(0.01, 1.5), st.integers(0, 1000))
@settings(max_examples=20)
def test_augment_normalised_agrees_with_torchvision_on_float_images(
    strength: float, seed: int
) -> None:
    config = AugmentationConfig(
        crop="resized", brightness=strength, contrast=strength, saturation=strength, hue=0.1
    )
    images_BCHW = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    parameters = draw(config, seed)
    augmented_BCHW = augment_normalised(images_BCHW, parameters)
    for index in range(4):
        expected_CHW = by_torchvision(
            images_BCHW[index], config, parameters.of(slice(index, index + 1))
        )
        torch.testing.assert_close(augmented_BCHW[index], expected_CHW, atol=1e-4, rtol=0)
