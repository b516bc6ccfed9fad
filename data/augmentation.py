"""Random variations of training images, a whole batch at a time, on the device that trains.

What is drawn is apart from how it is applied: parameters come from a CPU generator, so they are
the same on every device, and for given parameters the images agree with torchvision's
`resized_crop` (bilinear, antialiased) and `adjust_*` applied one by one. Colours belong on the
scale [0, 1], before normalisation; the other order exists for comparisons. May import torch, must
not read files.

Shapes: N images of a split, B of a batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from data.configuration import AugmentationConfig

N_CROP_ATTEMPTS = 10
"""Source: torchvision.transforms.RandomResizedCrop, which then falls back to the centre."""


@dataclass(frozen=True)
class AugmentationParameters:
    """One draw for each image; none where a variation is switched off."""

    boxes_N4: Tensor | None
    """Top, left, height, width in whole pixels; outside the image there is black."""
    is_flipped_N: Tensor | None
    """Whether the (cropped) image is mirrored left to right."""
    brightness_N: Tensor | None
    contrast_N: Tensor | None
    saturation_N: Tensor | None
    hue_N: Tensor | None

    @property
    def change_colours(self) -> bool:
        """Whether any of the four changes of colour is switched on."""
        colours = (self.brightness_N, self.contrast_N, self.saturation_N, self.hue_N)
        return any(values_N is not None for values_N in colours)

    def to(self, device: torch.device) -> AugmentationParameters:
        """Copies the parameters to a device."""
        return self._mapped(lambda values_N: values_N.to(device))

    def of(self, images: slice) -> AugmentationParameters:
        """Takes the parameters of some of the images."""
        return self._mapped(lambda values_N: values_N[images])

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> AugmentationParameters:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return AugmentationParameters(
            **{name: None if value is None else change(value) for name, value in values.items()}
        )


def draw_parameters(
    config: AugmentationConfig, *, n_images: int, image_size: int, generator: torch.Generator
) -> AugmentationParameters:
    """Draws one set of parameters for each image.

    Args:
        config: what is varied, and how much.
        n_images: how many draws.
        image_size: height and width of the images, in pixels.
        generator: a CPU generator.
    """

    def factors_N(strength: float) -> Tensor | None:
        low, high = max(0.0, 1 - strength), 1 + strength
        return _uniform((n_images,), low, high, generator) if strength > 0 else None

    boxes_N4 = None
    if config.crop == "padded":
        boxes_N4 = _padded_boxes(config, n_images, image_size, generator)
    elif config.crop == "resized":
        boxes_N4 = _resized_boxes(config, n_images, image_size, generator)
    flip = config.flip_probability
    return AugmentationParameters(
        boxes_N4=boxes_N4,
        is_flipped_N=torch.rand(n_images, generator=generator) < flip if flip > 0 else None,
        brightness_N=factors_N(config.brightness),
        contrast_N=factors_N(config.contrast),
        saturation_N=factors_N(config.saturation),
        hue_N=_uniform((n_images,), -config.hue, config.hue, generator) if config.hue else None,
    )


def augment(images_BCHW: Tensor, parameters: AugmentationParameters) -> Tensor:
    """Crops, mirrors, then changes brightness, contrast, saturation and hue, in this order.

    Args:
        images_BCHW: float32, RGB on the scale [0, 1], square.
        parameters: one draw for each of these images, on the same device.

    Returns:
        Images of the same shape, type and scale.
    """
    if parameters.boxes_N4 is not None:
        images_BCHW = _crop(images_BCHW, parameters.boxes_N4)
    if parameters.is_flipped_N is not None:
        is_flipped_B111 = parameters.is_flipped_N[:, None, None, None]
        images_BCHW = torch.where(is_flipped_B111, images_BCHW.flip(3), images_BCHW)
    if parameters.brightness_N is not None:
        images_BCHW = _blend(images_BCHW, torch.zeros_like(images_BCHW), parameters.brightness_N)
    if parameters.contrast_N is not None:
        means_B111 = _grey(images_BCHW).mean(dim=(1, 2, 3), keepdim=True)
        images_BCHW = _blend(images_BCHW, means_B111, parameters.contrast_N)
    if parameters.saturation_N is not None:
        images_BCHW = _blend(images_BCHW, _grey(images_BCHW), parameters.saturation_N)
    if parameters.hue_N is not None:
        images_BCHW = _turn_hue(images_BCHW, parameters.hue_N)
    return images_BCHW


def augment_normalised(images_BCHW: Tensor, parameters: AugmentationParameters) -> Tensor:
    """Does the same to normalised images, which clips them to [0, 1] where colours are changed.

    This is a defect: most of a normalised image lies outside [0, 1], and images of an evaluation
    are not clipped. It is here so that its price can be measured.

    Args:
        images_BCHW: float32, normalised, square.
        parameters: one draw for each of these images, on the same device.

    Returns:
        Images of the same shape and type.
    """
    augmented_BCHW = augment(images_BCHW, parameters)
    # A turn of the hue alone would not clip.
    return augmented_BCHW.clamp(0, 1) if parameters.change_colours else augmented_BCHW


def _uniform(
    shape: tuple[int, ...], low: float, high: float, generator: torch.Generator
) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def _padded_boxes(
    config: AugmentationConfig, n_images: int, image_size: int, generator: torch.Generator
) -> Tensor:
    corners_N2 = torch.randint(
        -config.padding, config.padding + 1, (n_images, 2), generator=generator
    )
    return torch.cat([corners_N2, torch.full_like(corners_N2, image_size)], dim=1)


def _resized_boxes(
    config: AugmentationConfig, n_images: int, image_size: int, generator: torch.Generator
) -> Tensor:
    """Area and aspect ratio at random, the first of ten tries that lies inside the image."""
    shape = (n_images, N_CROP_ATTEMPTS)
    areas = _uniform(shape, *config.scale, generator) * image_size**2
    low, high = torch.tensor(config.ratio).log().tolist()
    ratios = _uniform(shape, low, high, generator).exp()
    widths, heights = (areas * ratios).sqrt().round(), (areas / ratios).sqrt().round()
    fits = (widths > 0) & (widths <= image_size) & (heights > 0) & (heights <= image_size)
    first_N1 = fits.int().argmax(dim=1, keepdim=True)
    # The square image itself, narrowed where its ratio of 1 is not allowed.
    nearest = min(max(1.0, config.ratio[0]), config.ratio[1])
    fallback = round(image_size / max(nearest, 1)), round(image_size * min(nearest, 1))
    any_N1 = fits.any(dim=1, keepdim=True)
    sides_N2 = torch.cat(
        [
            torch.where(any_N1, sides.gather(1, first_N1), side)
            for sides, side in zip((heights, widths), fallback, strict=True)
        ],
        dim=1,
    )
    free_N2 = image_size - sides_N2
    corners_N2 = (torch.rand(n_images, 2, generator=generator) * (free_N2 + 1)).floor()
    corners_N2 = torch.where(any_N1, corners_N2.minimum(free_N2), (free_N2 / 2).floor())
    return torch.cat([corners_N2, sides_N2], dim=1).long()


def _crop(images_BCHW: Tensor, boxes_B4: Tensor) -> Tensor:
    """Resamples every box to the whole image: two small matrix products for each image."""
    size = images_BCHW.shape[-1]
    tops, lefts, heights, widths = boxes_B4.to(images_BCHW.dtype).unbind(dim=1)
    rows_BHH = _resampling(tops, heights, size)[:, None]
    columns_BWW = _resampling(lefts, widths, size)[:, None]
    return rows_BHH @ images_BCHW @ columns_BWW.mT


def _resampling(starts_B: Tensor, lengths_B: Tensor, size: int) -> Tensor:
    """Weights (B, size, size) of every input pixel in every output pixel along one axis.

    The triangle of bilinear interpolation, widened where the box shrinks (antialiasing). A box
    that begins outside the image takes black from there.
    """
    pixels = torch.arange(size, dtype=lengths_B.dtype, device=lengths_B.device)
    step_B11 = (lengths_B / size)[:, None, None]
    centres_BO1 = starts_B[:, None, None] + (pixels[:, None] + 0.5) * step_B11
    distances_BOI = (pixels + 0.5 - centres_BO1).abs() / step_B11.clamp(min=1)
    inside_B1I = (pixels >= starts_B[:, None]) & (pixels < (starts_B + lengths_B)[:, None])
    weights_BOI = (1 - distances_BOI).clamp(min=0) * inside_B1I[:, None]
    sums_BO1 = weights_BOI.sum(dim=2, keepdim=True)
    return weights_BOI / torch.where(sums_BO1 > 0, sums_BO1, 1)


def _blend(images_BCHW: Tensor, others: Tensor, factors_B: Tensor) -> Tensor:
    factors_B111 = factors_B[:, None, None, None]
    return (images_BCHW * factors_B111 + others * (1 - factors_B111)).clamp(0, 1)


def _grey(images_BCHW: Tensor) -> Tensor:
    """Brightness, (B, 1, H, W); the weights of ITU-R 601-2, as in torchvision."""
    red, green, blue = images_BCHW.unbind(dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue)[:, None]


def _turn_hue(images_BCHW: Tensor, turns_B: Tensor) -> Tensor:
    """Turns the colour circle: to hue, saturation and value, and back."""
    red, green, blue = images_BCHW.unbind(dim=1)
    value = images_BCHW.amax(dim=1)
    spread = value - images_BCHW.amin(dim=1)
    divisor = torch.where(spread > 0, spread, 1)
    sixths = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths = sixths + 6 * turns_B[:, None, None]
    # Red, green and blue each fall from `value` by `spread` outside their third of the circle.
    offsets_C11 = torch.tensor([5.0, 3.0, 1.0], device=images_BCHW.device)[:, None, None]
    positions_BCHW = (sixths[:, None] + offsets_C11) % 6
    falls_BCHW = torch.minimum(positions_BCHW, 4 - positions_BCHW).clamp(0, 1)
    return value[:, None] - spread[:, None] * falls_BCHW
