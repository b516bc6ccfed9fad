"""What a network costs to compute, from its shape alone. Must not import torch."""

from model.configuration import NetworkConfig

RESNET18_MACS = 1_814_073_344
"""Multiply-accumulates of ResNet-18 with 1,000 classes for an image of 224 pixels."""


def count_multiply_accumulates(config: NetworkConfig, *, n_classes: int, image_size: int) -> int:
    """Count the multiplications, each with an addition, that one image takes forward.

    They are those of the convolutions and of the head, as papers count them.

    Args:
        config: The network.
        n_classes: Length of the logits.
        image_size: Height and width of the image, in pixels.
    """
    before = config.widths[0]
    size = _halved(image_size) if config.stem.stride == 2 else image_size
    count = size**2 * 3 * before * config.stem.kernel_size**2
    if config.stem.pool:
        size = _halved(size)
    for stage, (n_blocks, width) in enumerate(zip(config.blocks, config.widths, strict=True)):
        if stage > 0:
            size = _halved(size)
        count += size**2 * 9 * width * (before + (2 * n_blocks - 1) * width)
        if config.residual and (stage > 0 or before != width):
            count += size**2 * before * width
        before = width
    return count + before * n_classes


def _halved(size: int) -> int:
    return (size + 1) // 2
