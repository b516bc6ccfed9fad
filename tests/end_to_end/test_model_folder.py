"""A model folder on real photos: ONNX Runtime and torch see the same in them."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from data.configuration import DataConfig
from data.image_cache import PreparedData, prepare
from model.configuration import NetworkConfig
from model.export import ExportedConfig, ExportedModel
from model.network import build_network
from model.onnx_export import save_onnx

TINY_IMAGENET = Path(__file__).parents[3] / "shared" / "tiny-imagenet"
N_IMAGES = 500
BATCH_SIZE = 100

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not TINY_IMAGENET.is_dir(), reason="needs Tiny ImageNet at ../shared/tiny-imagenet"
    ),
]


def trained(prepared: PreparedData, network: NetworkConfig) -> ExportedModel:
    """A network after one pass over the training images, so that its logits lie apart."""
    torch.manual_seed(0)
    learning = build_network(network, n_classes=prepared.n_classes)
    config = ExportedConfig(
        network=network,
        class_names=prepared.class_names,
        image_size=prepared.description.image_size,
        resize="crop",
        mean=prepared.mean,
        std=prepared.std,
    )
    model = ExportedModel(config, learning.state_dict()).train()
    examples = prepared.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for rows in torch.randperm(len(examples.labels_N)).split(50):
        logits_BC = model(torch.from_numpy(examples.images_NHWC[rows.numpy()]))
        labels_B = torch.from_numpy(examples.labels_N[rows.numpy()])
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits_BC, labels_B).backward()
        optimizer.step()
    return model.eval()


def measured(
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]], images_NHWC: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], float]:
    """Return the logits of all images, and images per second."""
    batches = np.split(np.array(images_NHWC), N_IMAGES // BATCH_SIZE)
    predict(batches[0])
    start = time.perf_counter()
    logits_NC = np.concatenate([predict(batch) for batch in batches])
    return logits_NC, N_IMAGES / (time.perf_counter() - start)


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(widths=(16, 32, 64), blocks=(2, 2, 2)),
        NetworkConfig.model_validate(
            {"widths": (16, 32), "blocks": (1, 1), "stem": {"stride": 2, "pool": True}}
        ),
    ],
    ids=["small stem", "stem of ResNet"],
)
def test_onnx_runtime_and_torch_agree_on_real_images(
    tmp_path: Path, network: NetworkConfig
) -> None:
    data = DataConfig(
        source=str(TINY_IMAGENET),
        n_classes=10,
        train_limit=1000,
        validation_limit=N_IMAGES,
        confirm_fraction=0.0,
        test_limit=10,
        cache=tmp_path / "cache",
    )
    prepared = prepare(data)
    model = trained(prepared, network)
    save_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    images_NHWC = prepared.validation().images_NHWC
    assert len(images_NHWC) == N_IMAGES
    with torch.inference_mode():
        by_torch_NC, torch_speed = measured(
            lambda images: model(torch.from_numpy(images)).numpy(), images_NHWC
        )
    by_onnx_NC, onnx_speed = measured(
        lambda images: session.run(["logits"], {"images": images})[0], images_NHWC
    )
    difference = np.abs(by_torch_NC - by_onnx_NC).max()
    print(f"max difference {difference:.2g}")
    print(f"torch {torch_speed:.0f}, ONNX Runtime {onnx_speed:.0f} images/s")
    assert len(np.unique(by_torch_NC.argmax(axis=1))) > 3
    assert difference < 1e-4
    assert (by_torch_NC.argmax(axis=1) == by_onnx_NC.argmax(axis=1)).all()
