"""The small residual network that every trial trains.

Shape letters: B batch, C channels or classes, H height, W width, F features.
Must not know how it is trained, nor on which device. Imports torch alone: a model folder holds a
copy of this file, for those who have nothing else of this program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from model.configuration import NetworkConfig

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "selu": nn.SELU,
}


class Projection(nn.Conv2d):
    """A 1x1 convolution of every pixel, or of every second one in both directions.

    Picks the pixels itself: where it convolves with a stride and few channels lie innermost,
    oneDNN writes past its memory (3.13: fewer than 8 channels with AVX2, 16 with AVX-512).
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)
        self._pick_every = stride

    def forward(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """Return features of another width, at the stride."""
        # Unlike a slice, the mean of one pixel keeps channels innermost in the gradient too.
        picked_BCHW = F.avg_pool2d(features_BCHW, 1, self._pick_every)
        return super().forward(picked_BCHW)


class ResidualBlock(nn.Module):
    """Convolution, norm, activation, channel dropout, convolution, norm, plus the shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, config: NetworkConfig
    ) -> None:
        super().__init__()
        self.convolution_1 = _convolution(in_channels, out_channels, stride=stride)
        self.norm_1 = _norm(out_channels, config)
        self.dropout = nn.Dropout2d(config.dropout)
        self.convolution_2 = _convolution(out_channels, out_channels)
        self.norm_2 = _norm(out_channels, config)
        self.activation = _ACTIVATIONS[config.activation]()
        self.shortcut = (
            _shortcut(in_channels, out_channels, stride=stride, config=config)
            if config.residual
            else None
        )

    def forward(self, features_BCHW: torch.Tensor) -> torch.Tensor:
        """Return features of the block's own width, at the block's own stride."""
        inner_BCHW = self.activation(self.norm_1(self.convolution_1(features_BCHW)))
        outer_BCHW: torch.Tensor = self.norm_2(self.convolution_2(self.dropout(inner_BCHW)))
        if self.shortcut is not None:
            outer_BCHW = outer_BCHW + self.shortcut(features_BCHW)
        activated_BCHW: torch.Tensor = self.activation(outer_BCHW)
        return activated_BCHW


class ResidualNetwork(nn.Module):
    """Stem, stages of residual blocks, global average pool, linear head."""

    def __init__(self, config: NetworkConfig, *, n_classes: int) -> None:
        super().__init__()
        width = config.widths[0]
        self.stem = _stem(width, config)
        self.stages = nn.Sequential()
        for index, (n_blocks, stage_width) in enumerate(
            zip(config.blocks, config.widths, strict=True)
        ):
            stride = 1 if index == 0 else 2
            self.stages.append(
                _stage(width, stage_width, n_blocks=n_blocks, stride=stride, config=config)
            )
            width = stage_width
        self.head = nn.Linear(width, n_classes)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Turn normalised images, float [B, 3, H, W], into logits [B, classes]."""
        features_BCHW: torch.Tensor = self.stages(self.stem(images_BCHW))
        logits_BC: torch.Tensor = self.head(features_BCHW.mean(dim=(2, 3)))
        return logits_BC


def build_network(config: NetworkConfig, *, n_classes: int) -> ResidualNetwork:
    """Build a network and draw its weights from torch's global generator.

    Source: He et al. 2015 (arXiv 1502.01852) for the convolutions; Goyal et al. 2017
    (arXiv 1706.02677, section 5.1) for the head, whose small weights make the first loss that of
    a uniform guess, and for zeroing the last norm of a block.
    """
    network = ResidualNetwork(config, n_classes=n_classes)
    nn.init.normal_(network.head.weight, std=0.01)
    nn.init.zeros_(network.head.bias)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, ResidualBlock) and config.zero_init_last_norm:
            nn.init.zeros_(module.norm_2.get_parameter("weight"))
    return network


def count_parameters(network: nn.Module) -> int:
    """Count the trainable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _stem(width: int, config: NetworkConfig) -> nn.Sequential:
    """Build what sees the image first.

    Source: He et al. 2015 (arXiv 1512.03385, table 1) for the 7x7 convolution with stride 2 and
    the max pool: with both, and stages of 64 to 512 channels, the network is their ResNet.
    """
    # As `StemConfig.kernel_size` has it, which a configuration read from JSON alone has not.
    kernel_size = 7 if config.stem.stride == 2 else 3
    convolution = _convolution(3, width, stride=config.stem.stride, size=kernel_size)
    stem = nn.Sequential(convolution, _norm(width, config), _ACTIVATIONS[config.activation]())
    if config.stem.pool:
        stem.append(nn.MaxPool2d(3, stride=2, padding=1))
    return stem


def _stage(
    in_channels: int, out_channels: int, *, n_blocks: int, stride: int, config: NetworkConfig
) -> nn.Sequential:
    """Chain blocks of one width; only the first changes width and resolution."""
    first = ResidualBlock(in_channels, out_channels, stride=stride, config=config)
    others = (
        ResidualBlock(out_channels, out_channels, stride=1, config=config)
        for _ in range(n_blocks - 1)
    )
    return nn.Sequential(first, *others)


def _convolution(
    in_channels: int, out_channels: int, *, stride: int = 1, size: int = 3
) -> nn.Conv2d:
    """Build the convolution without bias that the network is made of, 3x3 but in some stems."""
    return nn.Conv2d(in_channels, out_channels, size, stride=stride, padding=size // 2, bias=False)


def _norm(n_channels: int, config: NetworkConfig) -> nn.Module:
    """Build a batch norm, or nothing where the configuration has none."""
    return nn.BatchNorm2d(n_channels) if config.batch_norm else nn.Identity()


def _shortcut(
    in_channels: int, out_channels: int, *, stride: int, config: NetworkConfig
) -> nn.Module:
    """Build the identity, or a 1x1 projection where width or resolution changes."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    projection = Projection(in_channels, out_channels, stride=stride)
    return nn.Sequential(projection, _norm(out_channels, config))
