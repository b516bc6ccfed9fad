"""Measure the decoding of pictures beside torchvision's ImageFolder with a DataLoader.

Photographs are made up from seeded noise of every scale and encoded as JPEG. Ours is what
`study run` does before training: open the class folders, decode into one file and count, by
`write_split`; the fingerprint of the source is left out. The peers decode the same files into
batches of uint8, once as everybody does and once with the draft mode of JPEG in their loader, in
two worker processes that live before and after a repeat. All run in turn, so that what else runs
here meets all of them; a ratio is the median of those within one turn.

    python -m benchmarks.decoding --out decoding.json
    python -m benchmarks.decoding --sets 64=12 400x533=6 --repeats 1
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from data.configuration import DataConfig
from data.sources.folders.image_folder import find_pictures
from data.split_writer import no_progress, write_split
from data.splits import TRAIN, SplitRows

OURS, FOLDER, DRAFT = "ours", "ImageFolder", "ImageFolder with draft"
N_CLASSES = 2
N_WORKERS = 2
BATCH_SIZE = 64
CONTRAST = 70.0
ROUGHNESS = 0.7
"""Contrast of each scale over that of the next coarser one; 12 million pixels then take 2 MB."""
SEED = 42


@dataclass(frozen=True)
class PictureSet:
    """So many JPEGs of one size."""

    height: int
    width: int
    n_pictures: int

    @property
    def name(self) -> str:
        """Height and width in pixels."""
        return f"{self.height}x{self.width}"


def main() -> None:
    """Measure what the command line asks for, print a table and write one JSON document."""
    arguments = parse_arguments()
    print(
        f"{'pictures':<12} {'MB':>6}  {'system':<24} {'pictures/s':>10}  ours over it", flush=True
    )
    rows = []
    for pictures in arguments.sets:
        with tempfile.TemporaryDirectory() as folder:
            n_bytes = write_pictures(Path(folder), pictures)
            for row in measure(Path(folder), pictures, arguments):
                rows.append(row | {"megabytes": n_bytes / 1e6})
                show(rows[-1])
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.decoding", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}",
        "versions": {
            "python": platform.python_version(),
            "pillow": PIL.__version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "seed": SEED,
        "image_size": arguments.image_size,
        "repeats": arguments.repeats,
        "rows": rows,
    }
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def write_pictures(folder: Path, pictures: PictureSet) -> int:
    """Write class folders of JPEGs; return how many bytes they have."""
    random = np.random.default_rng([SEED, pictures.height, pictures.width])
    base_HWC = draw_photograph(random, pictures.height, pictures.width)
    n_bytes = 0
    for index in range(pictures.n_pictures):
        shift = tuple(random.integers(0, base_HWC.shape[:2]))
        rolled = np.roll(base_HWC, shift, axis=(0, 1))
        path = folder / f"class-{index % N_CLASSES}" / f"{index:05d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rolled).save(path, quality=90)
        n_bytes += path.stat().st_size
    return n_bytes


def draw_photograph(random: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Add up noise of every scale; as in photographs, the coarse scales have most contrast."""
    layers = np.full((3, height, width), 127.5, dtype=np.float32)
    side, contrast = 4, CONTRAST
    while side < 2 * max(height, width):
        for layer_HW in layers:
            shape = (min(side, height), min(side, width))
            noise = Image.fromarray(random.normal(0, contrast, shape).astype(np.float32))
            layer_HW += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC))
        side, contrast = 2 * side, ROUGHNESS * contrast
    return np.clip(layers, 0, 255).astype(np.uint8).transpose(1, 2, 0)


def measure(
    folder: Path, pictures: PictureSet, arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Time every system in turn, after a turn that warms up."""
    size = arguments.image_size
    systems: dict[str, Callable[[], int]] = {
        OURS: our_decoding(folder, size),
        FOLDER: peer_decoding(folder, size, with_draft=False),
        DRAFT: peer_decoding(folder, size, with_draft=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for repeat in range(1 + arguments.repeats):
        for name, decode_all in systems.items():
            start = time.perf_counter()
            n_decoded = decode_all()
            elapsed = time.perf_counter() - start
            if n_decoded != pictures.n_pictures:
                raise RuntimeError(f"{name} decoded {n_decoded} of {pictures.n_pictures} pictures")
            seconds[name] += [elapsed] if repeat else []
    for name in systems:
        ratios = [peer / ours for peer, ours in zip(seconds[name], seconds[OURS], strict=True)]
        yield {
            "pictures": asdict(pictures) | {"name": pictures.name},
            "system": name,
            "pictures_per_second": pictures.n_pictures / statistics.median(seconds[name]),
            "seconds": seconds[name],
            "ours_over_it": statistics.median(ratios),
        }


def our_decoding(folder: Path, image_size: int) -> Callable[[], int]:
    """Return what decodes a folder as `study run` does."""
    config = DataConfig(source=str(folder), image_size=image_size)

    def decode_all() -> int:
        source = find_pictures(folder, config).open(scratch=folder.parent).splits[TRAIN]
        rows = SplitRows(TRAIN, np.arange(len(source.labels_N)), source.labels_N)
        with tempfile.NamedTemporaryFile(dir=folder.parent) as file:
            path = Path(file.name)
            tally = write_split(source, rows, path=path, config=config, track=no_progress)
        return len(tally.labels_N)

    return decode_all


def peer_decoding(folder: Path, image_size: int, *, with_draft: bool) -> Callable[[], int]:
    """Return what reads a folder through torchvision, in worker processes that stay."""

    def load_draft(path: str) -> Image.Image:
        with Image.open(path) as picture:
            picture.draft("RGB", (image_size, image_size))
            return picture.convert("RGB")

    transform = v2.Compose(
        [v2.Resize(image_size, antialias=True), v2.CenterCrop(image_size), v2.PILToTensor()]
    )
    images = (
        ImageFolder(folder, transform, loader=load_draft)
        if with_draft
        else ImageFolder(folder, transform)
    )
    loader = DataLoader(
        images, BATCH_SIZE, num_workers=N_WORKERS, persistent_workers=True, prefetch_factor=4
    )

    def decode_all() -> int:
        return sum(len(labels_N) for _, labels_N in loader)

    return decode_all


def show(row: dict[str, Any]) -> None:
    """Print one row."""
    print(
        f"{row['pictures']['name']:<12} {row['megabytes']:>6.1f}  {row['system']:<24} "
        f"{row['pictures_per_second']:>10.1f}  {row['ours_over_it']:.2f}",
        flush=True,
    )


def parse_set(text: str) -> PictureSet:
    """Read HEIGHTxWIDTH=NUMBER."""
    size, _, number = text.partition("=")
    height, _, width = size.partition("x")
    return PictureSet(int(height), int(width or height), int(number))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    usual = [PictureSet(64, 64, 3000), PictureSet(400, 533, 600), PictureSet(3000, 4000, 24)]
    parser.add_argument(
        "--sets", nargs="+", type=parse_set, default=usual, metavar="HEIGHTxWIDTH=NUMBER"
    )
    parser.add_argument("--image-size", type=int, default=64, help="pixels of what is decoded")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns after the first")
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
