"""Examples -> normalised batches on the device; order and augmentation follow (seed, epoch) only.

Nothing is carried from one epoch to the next: that is what makes a resumed run equal to an
uninterrupted one. May import torch, must not read files.

Shapes: N images of a split, B of a batch, C channels, H height, W width.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from data.augmentation import (
    AugmentationParameters,
    augment,
    augment_normalised,
    draw_parameters,
)
from data.configuration import AugmentationConfig
from data.cutmix import MixedBatch, Patch, draw_patches, mix
from data.image_cache import Examples

Channels = tuple[float, float, float]
TrainBatch = tuple[Tensor, Tensor] | MixedBatch


class TrainBatches:
    """Shuffled, augmented batches of the training split, epoch by epoch."""

    def __init__(
        self,
        examples: Examples,
        *,
        batch_size: int,
        seed: int,
        augmentation: AugmentationConfig,
        mean: Channels,
        std: Channels,
        device: torch.device,
        n_epochs: int | None = None,
    ) -> None:
        """Puts the images on the device where they fit.

        Args:
            examples: uint8 images and their classes.
            batch_size: images of a batch; the last one of an epoch may be smaller.
            seed: not negative; decides, with the epoch, on order and augmentation.
            augmentation: how images are varied.
            mean: of each channel, on the scale [0, 1].
            std: of each channel, on the scale [0, 1].
            device: where the batches are used.
            n_epochs: epochs of the whole run; CutMix must know.

        Raises:
            ValueError: If there is CutMix and nothing says when it ends.
        """
        self._source = _DeviceExamples(examples, mean=mean, std=std, device=device)
        self._batch_size = batch_size
        self._seed = seed
        self._augmentation = augmentation
        self._last_mixed_epoch = 0
        if augmentation.cutmix_probability > 0:
            if n_epochs is None:
                raise ValueError(
                    "n_epochs must be the length of the run where there is CutMix, got None: "
                    "give it, or set cutmix_probability=0"
                )
            self._last_mixed_epoch = round(augmentation.cutmix_until * n_epochs)

    @property
    def n_images(self) -> int:
        """Images of the training split."""
        return self._source.n_images

    @property
    def n_batches(self) -> int:
        """Batches of an epoch; a last batch of a single image is left out (batch norm)."""
        n_whole, n_left = divmod(self.n_images, self._batch_size)
        return n_whole + (n_left > 1 or n_whole == 0)

    def __call__(self, epoch: int) -> Iterator[TrainBatch]:
        """Goes through the training split once.

        Args:
            epoch: counted from 1; the same epoch gives the same batches.

        Yields:
            Images (B, 3, H, W), float32, normalised, channels last; classes (B,), int64. Where
            CutMix has mixed the batch also the other classes (B,), int64, and the share of each
            image that is of the first class.

        Raises:
            DamagedFolderError: the file of the images was changed while it was read.
        """
        source = self._source
        generator = torch.Generator().manual_seed(_mixed_seed(self._seed, epoch))
        order_N = torch.randperm(source.n_images, generator=generator)
        # Drawn and sent to the device once for the whole epoch, in the order of use.
        parameters = draw_parameters(
            self._augmentation,
            n_images=source.n_images,
            image_size=source.image_size,
            generator=generator,
        ).to(source.device)
        patches = self._draw_patches(epoch, generator)
        order_N = order_N.to(source.images_NHWC.device)
        for index in range(self.n_batches):
            batch = slice(index * self._batch_size, (index + 1) * self._batch_size)
            images_BCHW, labels_B = source.take(order_N[batch])
            images_BCHW = self._varied(images_BCHW, parameters.of(batch))
            patch = patches[index]
            yield (images_BCHW, labels_B) if patch is None else mix(images_BCHW, labels_B, patch)
        source.check()

    def _varied(self, images_BCHW: Tensor, parameters: AugmentationParameters) -> Tensor:
        """Augmented and normalised, in the configured order."""
        if not self._augmentation.after_normalisation:
            return self._source.normalise(augment(images_BCHW, parameters))
        augmented_BCHW = augment_normalised(self._source.normalise(images_BCHW), parameters)
        return augmented_BCHW.contiguous(memory_format=torch.channels_last)

    def _draw_patches(self, epoch: int, generator: torch.Generator) -> list[Patch | None]:
        """Drawn after everything else, which is therefore the same with and without CutMix."""
        if epoch > self._last_mixed_epoch:
            return [None] * self.n_batches
        return draw_patches(
            self._augmentation,
            n_batches=self.n_batches,
            image_size=self._source.image_size,
            generator=generator,
        )


class EvaluationBatches:
    """All images of a split in their order, unchanged but for normalisation."""

    def __init__(
        self,
        examples: Examples,
        *,
        batch_size: int,
        mean: Channels,
        std: Channels,
        device: torch.device,
    ) -> None:
        """Puts the images on the device where they fit.

        Args:
            examples: uint8 images and their classes.
            batch_size: images of a batch.
            mean: of each channel of the training split, on the scale [0, 1].
            std: of each channel of the training split, on the scale [0, 1].
            device: where the batches are used.
        """
        self._source = _DeviceExamples(examples, mean=mean, std=std, device=device)
        self._batch_size = batch_size

    def __call__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Goes through the split once.

        Yields:
            Images (B, 3, H, W), float32, normalised, channels last; classes (B,), int64.

        Raises:
            DamagedFolderError: the file of the images was changed while it was read.
        """
        source = self._source
        rows_N = torch.arange(source.n_images, device=source.images_NHWC.device)
        for start in range(0, source.n_images, self._batch_size):
            images_BCHW, labels_B = source.take(rows_N[start : start + self._batch_size])
            yield source.normalise(images_BCHW), labels_B
        source.check()


class _DeviceExamples:
    """Images as uint8 on the device where they fit, else in host memory; batches as float."""

    def __init__(
        self, examples: Examples, *, mean: Channels, std: Channels, device: torch.device
    ) -> None:
        images_NHWC = torch.from_numpy(examples.images_NHWC)
        home = device if _fits(images_NHWC, device) else torch.device("cpu")
        self.device = device
        self.images_NHWC = images_NHWC.to(home)
        self.check = examples.check
        self._labels_N = torch.from_numpy(examples.labels_N).to(home)
        self._mean_C11 = torch.tensor(mean, device=device)[:, None, None]
        self._std_C11 = torch.tensor(std, device=device)[:, None, None]

    @property
    def n_images(self) -> int:
        return self.images_NHWC.shape[0]

    @property
    def image_size(self) -> int:
        return self.images_NHWC.shape[1]

    def take(self, rows_B: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W), float32 on the scale [0, 1], and classes (B,), on the device."""
        images_BHWC = self._sent(self.images_NHWC[rows_B])
        return images_BHWC.permute(0, 3, 1, 2).float() / 255, self._sent(self._labels_N[rows_B])

    def normalise(self, images_BCHW: Tensor) -> Tensor:
        normalised_BCHW = (images_BCHW - self._mean_C11) / self._std_C11
        return normalised_BCHW.contiguous(memory_format=torch.channels_last)

    def _sent(self, values: Tensor) -> Tensor:
        if values.device == self.device or self.device.type != "cuda":
            return values.to(self.device)
        # From pinned memory the copy does not wait for the batch before it.
        return values.pin_memory().to(self.device, non_blocking=True)


def _fits(images_NHWC: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return device.type == "cpu"
    n_free_bytes, _ = torch.cuda.mem_get_info(device)
    return images_NHWC.nbytes < n_free_bytes / 2


def _mixed_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])
