"""Model folders of a moment: networks that nothing was taught."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from model.configuration import NetworkConfig
from model.export import ExportedConfig, save_model
from model.network import build_network


def write_model_folder(
    folder: Path, class_names: Sequence[str], *, image_size: int = 8, **config: Any
) -> Path:
    """Write a tiny network whose logits differ from image to image."""
    exported = ExportedConfig.model_validate(
        {
            "network": NetworkConfig(blocks=(1, 1), widths=(4, 8)),
            "class_names": tuple(class_names),
            "image_size": image_size,
            "resize": "crop",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.01, 0.01, 0.01),
        }
        | config
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build_network(exported.network, n_classes=len(class_names))
        network.head.reset_parameters()
    save_model(folder, exported, network.state_dict())
    return folder
