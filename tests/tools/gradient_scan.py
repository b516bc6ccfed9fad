"""Compare the gradients of each convolution of a network with those of float64, in many shapes.

    python -m tests.tools.gradient_scan WIDTH BATCHES SIZES THREADS

A kernel that writes past its memory may kill the process: what is computed is named before.
"""

import itertools
import sys
from collections.abc import Iterator

import torch
from torch import nn

from model.configuration import DeviceConfig, NetworkConfig, StemConfig
from model.device import Execution, resolve_execution, set_threads
from model.network import build_network

TOLERANCES = {"float32": 1e-4, "bfloat16": 1e-2}

Case = tuple[str, nn.Conv2d, torch.Tensor, torch.Tensor]
Gradients = tuple[torch.Tensor, ...]


def main() -> None:
    """Scan; end with exit code 1 where a gradient is wrong."""
    (width,), *others = (list(map(int, text.split(","))) for text in sys.argv[1:])
    batches, sizes, threads = others
    ways = [resolve_execution(DeviceConfig(device="cpu", precision=one)) for one in TOLERANCES]
    n_wrong = 0
    for n_images, size in itertools.product(batches, sizes):
        cases = list(convolutions(width, n_images, size))
        right = [gradients(case) for case in cases]
        for how, n_threads in itertools.product(ways, threads):
            shape = f"width {width}, batch {n_images}, {size} px, {n_threads} threads"
            print(f"{shape}, {how.precision}: ", end="", flush=True)
            set_threads(n_threads)
            worst, name = max(
                (distance(gradients(case, how), expected), case[0])
                for case, expected in zip(cases, right, strict=True)
            )
            print(f"{worst:.1e} at {name}", flush=True)
            n_wrong += not worst < TOLERANCES[how.precision]
    sys.exit(f"{n_wrong} shapes have wrong gradients" if n_wrong else 0)


def convolutions(width: int, n_images: int, size: int) -> Iterator[Case]:
    """Yield name, convolution, input and gradient of the output; bfloat16 can hold the numbers."""
    torch.manual_seed(0)
    config = NetworkConfig(blocks=(1, 1, 1), widths=(width, 2 * width, 4 * width))
    strided = config.model_copy(update={"stem": StemConfig(stride=2, pool=True)})
    network = nn.Sequential(*(build_network(one, n_classes=10) for one in (config, strided)))
    network.bfloat16().float()
    network.eval()  # a batch norm that trains rejects one value for each channel
    shapes: dict[nn.Module, tuple[torch.Size, torch.Size]] = {}
    for module in network.modules():
        module.register_forward_hook(
            lambda module, given, result: shapes.update({module: (given[0].shape, result.shape)})
        )
    with torch.no_grad():
        for one in network:
            one(torch.zeros(n_images, 3, size, size))
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            features, slopes = (torch.randn(shape).bfloat16() for shape in shapes[module])
            yield name, module, features.float(), slopes


def gradients(case: Case, how: Execution | None = None) -> Gradients:
    """Return the gradients of weight and input as the product computes them, else in float64."""
    _, convolution, features_BCHW, slopes_BCHW = case
    if how is None:
        convolution.double()
        features_BCHW = features_BCHW.double()
        return _backward(convolution, features_BCHW, slopes_BCHW)
    how.place(convolution.float())
    features_BCHW, slopes_BCHW = how.place_batch(features_BCHW, slopes_BCHW)
    with how.autocast():
        return _backward(convolution, features_BCHW, slopes_BCHW)


def _backward(
    convolution: nn.Conv2d, features_BCHW: torch.Tensor, slopes_BCHW: torch.Tensor
) -> Gradients:
    features_BCHW = features_BCHW.requires_grad_()
    outputs_BCHW = convolution(features_BCHW)
    return torch.autograd.grad(
        outputs_BCHW, (convolution.weight, features_BCHW), slopes_BCHW.to(outputs_BCHW.dtype)
    )


def distance(found: Gradients, right: Gradients) -> float:
    """Return the distance of two gradients as a part of the right one's length."""
    pairs = zip(found, right, strict=True)
    return max(((one - other).norm() / other.norm()).item() for one, other in pairs)


if __name__ == "__main__":
    main()
