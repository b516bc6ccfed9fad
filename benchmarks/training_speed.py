"""Measure training speed: our networks, eager and compiled, beside torchvision's ResNet-18.

Every figure of one report comes from one process on one device. All networks, the peer included,
run through the project's own training loop (metrics, schedule and gradient norm included) on
random images that lie on the device as uint8. ``achieved_tflops`` counts 3 x 2 x MACs per training
image; ``share_of_matrix_peak`` divides it by the rate of a large square matrix product in the same
precision, measured in the same process.

    python -m benchmarks.training_speed --out training-speed.json
    python -m benchmarks.training_speed --width 8 --image-size 16 --batch-sizes 16 --steps 4 \\
        --repeats 3 --matrix-size 512 --eager
"""

import argparse
import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from model.configuration import DeviceConfig, NetworkConfig, OptimizationConfig
from model.device import Execution, resolve_execution, set_threads
from model.network import build_network, count_parameters
from model.optimization import build_optimizer, build_schedule
from model.seeds import derive_seed
from model.training import train_epochs
from model.training_state import TrainingState

PEER = "torchvision.models.resnet18"


@dataclass(frozen=True)
class Speed:
    """One network at one batch size; minimum and maximum over the repeats after the warm-up."""

    network: str
    compiled: bool
    batch_size: int
    n_parameters: int
    training_gflop_per_image: float
    warmup_seconds: float
    images_per_second_median: float
    images_per_second_min: float
    images_per_second_max: float
    achieved_tflops: float


def main() -> None:
    """Measure what the command line asks for and write one JSON document."""
    arguments = parse_arguments()
    if arguments.threads is not None:
        set_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    execution = resolve_execution(
        DeviceConfig(device=arguments.device, precision=arguments.precision)
    )
    peak_before = measure_matrix_peak(execution, size=arguments.matrix_size)
    speeds = list(measure_all(execution, arguments))
    # On a shared machine one of the two may be disturbed; a peak is the higher.
    peak = max(peak_before, measure_matrix_peak(execution, size=arguments.matrix_size))
    report = describe(execution, arguments) | {
        "matrix_peak_tflops": peak,
        "peer": PEER,
        "speeds": [asdict(speed) | ratios(speed, speeds, peak_tflops=peak) for speed in speeds],
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")


def parse_arguments() -> argparse.Namespace:
    """Read the command line; the defaults are those of Tiny ImageNet on one GPU."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    on_gpu = torch.cuda.is_available()  # a CPU measures a narrow network, within minutes
    width, size, steps = (64, 64, 30) if on_gpu else (16, 32, 6)
    batch_sizes, matrix_size = ([128, 256, 512, 1024], 8192) if on_gpu else ([64], 2048)
    parser.add_argument("--width", type=int, default=width, help="channels of the first stage")
    parser.add_argument("--image-size", type=int, default=size, help="pixels")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=batch_sizes)
    parser.add_argument(
        "--depths", type=int, nargs="+", default=[2, 3, 4], help="blocks per stage"
    )
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--steps", type=int, default=steps, help="training steps per repeat")
    parser.add_argument("--repeats", type=int, default=5, help="timed repeats after the warm-up")
    parser.add_argument("--eager", action="store_true", help="leave the compiled networks out")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument(
        "--matrix-size", type=int, default=matrix_size, help="of the peak measurement"
    )
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's own choice")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    return parser.parse_args()


def describe(execution: Execution, arguments: argparse.Namespace) -> dict[str, object]:
    """Say what was measured, where and how, so that it can be measured again."""
    is_cuda = execution.device.type == "cuda"
    return {
        "command": shlex.join(["python", "-m", "benchmarks.training_speed", *sys.argv[1:]]),
        "seed": arguments.seed,
        "image_size": arguments.image_size,
        "width": arguments.width,
        "steps_per_repeat": arguments.steps,
        "repeats": arguments.repeats,
        "device": torch.cuda.get_device_name() if is_cuda else platform.processor() or "cpu",
        "precision": execution.precision,
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "cuda": torch.version.cuda if is_cuda else None,
        },
    }


def measure_all(execution: Execution, arguments: argparse.Namespace) -> Iterator[Speed]:
    """Measure the peer and each of our networks, at each batch size, eager and compiled."""
    for batch_size in arguments.batch_sizes:
        for compiled in (False,) if arguments.eager else (False, True):
            mode = replace(execution, compile=compiled)
            for depth in (None, *arguments.depths):
                name, network = build(depth, arguments)
                print(f"{name}, batch {batch_size}, compiled {compiled}", file=sys.stderr)
                yield measure(
                    name, network, execution=mode, batch_size=batch_size, arguments=arguments
                )


def build(depth: int | None, arguments: argparse.Namespace) -> tuple[str, nn.Module]:
    """Build our network with so many blocks per stage, or the peer where there is no depth."""
    if depth is None:
        return PEER, resnet18(num_classes=arguments.classes)
    config = NetworkConfig(
        blocks=(depth, depth, depth),
        widths=(arguments.width, 2 * arguments.width, 4 * arguments.width),
    )
    return str(list(config.blocks)), build_network(config, n_classes=arguments.classes)


def ratios(speed: Speed, speeds: list[Speed], *, peak_tflops: float) -> dict[str, float]:
    """Compare with the matrix peak, and with the peer by images and by arithmetic done."""
    peer = next(
        other
        for other in speeds
        if (other.network, other.batch_size, other.compiled)
        == (PEER, speed.batch_size, speed.compiled)
    )
    return {
        "share_of_matrix_peak": speed.achieved_tflops / peak_tflops,
        "images_per_second_over_peer": speed.images_per_second_median
        / peer.images_per_second_median,
        "flops_over_peer": speed.achieved_tflops / peer.achieved_tflops,
    }


def measure(
    name: str,
    network: nn.Module,
    *,
    execution: Execution,
    batch_size: int,
    arguments: argparse.Namespace,
) -> Speed:
    """Train one network for a warm-up and the repeats, each a short epoch."""
    training_flop = 3 * count_forward_flop(network, arguments.image_size)
    torch.compiler.reset()
    execution.place(network)
    batches = RandomBatches(execution, batch_size, arguments)
    epochs = train_epochs(
        training_state(network, execution, batch_size, arguments),
        lambda _: batches(arguments.steps),
        lambda: batches(1),
        n_epochs=1 + arguments.repeats,
        seed=arguments.seed,
    )
    warmup, *repeats = epochs
    rates = [result.images_per_second for result in repeats]
    median = statistics.median(rates)
    return Speed(
        network=name,
        compiled=execution.compile,
        batch_size=batch_size,
        n_parameters=count_parameters(network),
        training_gflop_per_image=training_flop / 1e9,
        warmup_seconds=warmup.seconds,
        images_per_second_median=median,
        images_per_second_min=min(rates),
        images_per_second_max=max(rates),
        achieved_tflops=median * training_flop / 1e12,
    )


def training_state(
    network: nn.Module, execution: Execution, batch_size: int, arguments: argparse.Namespace
) -> TrainingState:
    """Put any network, ours or the peer's, into the state that our loop trains."""
    # A low constant rate: random labels teach nothing, and a diverging run would end the loop.
    optimization = OptimizationConfig(
        batch_size=batch_size, learning_rate=1e-4, schedule="constant", warmup_epochs=0
    )
    optimizer = build_optimizer(network, optimization)
    schedule = build_schedule(
        optimizer,
        optimization,
        n_epochs=1 + arguments.repeats,
        steps_per_epoch=arguments.steps,
    )
    return TrainingState(
        network, optimizer, schedule, optimization, execution, n_classes=arguments.classes
    )


class RandomBatches:
    """Random uint8 images that lie on the device and are normalised batch by batch."""

    def __init__(
        self, execution: Execution, batch_size: int, arguments: argparse.Namespace
    ) -> None:
        generator = torch.Generator().manual_seed(derive_seed(arguments.seed, "images"))
        shape = (batch_size, arguments.image_size, arguments.image_size, 3)
        images_NHWC = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        labels_N = torch.randint(0, arguments.classes, (batch_size,), generator=generator)
        self._images_NCHW = images_NHWC.to(execution.device).permute(0, 3, 1, 2)
        self._labels_N = labels_N.to(execution.device)

    def __call__(self, n_batches: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the same images again and again, normalised anew each time."""
        for _ in range(n_batches):
            yield self._images_NCHW.float().div_(127.5).sub_(1), self._labels_N


def count_forward_flop(network: nn.Module, image_size: int) -> int:
    """Count two operations per multiply-accumulate for one image, on the CPU."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(torch.zeros(1, 3, image_size, image_size))
    return counter.get_total_flops()


def measure_matrix_peak(execution: Execution, *, size: int) -> float:
    """Return the best TFLOP/s of a square matrix product in the precision of the networks."""
    dtype = torch.bfloat16 if execution.precision == "bfloat16" else torch.float32
    left, right = (torch.randn(size, size, device=execution.device, dtype=dtype) for _ in "ab")
    seconds = []
    for _ in range(20):
        start_seconds = time.perf_counter()
        (left @ right)[0, 0].item()
        seconds.append(time.perf_counter() - start_seconds)
    return 2 * size**3 / min(seconds) / 1e12


if __name__ == "__main__":
    main()
