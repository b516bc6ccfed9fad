"""The embedded data set: drawn from a seed, so that everything can be tried without a download.

Ten classes, five shapes times two textures, in random colours, places, sizes and rotations over
a cluttered and noisy background: neither the colour nor a single pixel gives a class away.
Written in the hub's parquet layout and read by the same code as any other source.
"""

import json
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from data.built_folder import build_once
from data.file_digests import check_digests
from data.group_rights import make_folders

SYNTHETIC_RECIPE = "synthetic-1"
"""Names the folder and the content: raise the number whenever a picture would change."""
SHAPES = ("disc", "square", "triangle", "star", "ring")
TEXTURES = ("striped", "checked")
CLASS_NAMES = tuple(f"{texture}-{shape}" for texture in TEXTURES for shape in SHAPES)
N_IMAGES = {"train": 3000, "valid": 500}
IMAGE_SIZE = 64
GREY_PART = 0.02
TURN = 0.6
"""Largest rotation, in radians."""
CHUNK_IMAGES = 250

Floats = NDArray[np.floating]


def build_synthetic(cache: Path) -> Path:
    """Draws the embedded data set into a folder of the cache, unless it is there.

    Returns:
        The folder, in the hub's parquet layout.

    Raises:
        DataError: the cache cannot be written.
    """
    folder = cache / f"parquet-{SYNTHETIC_RECIPE}"
    build_once(folder, partial(_write, n_images=N_IMAGES), check=check_digests)
    return folder


def _write(folder: Path, n_images: dict[str, int]) -> None:
    make_folders(folder / "data")
    for seed, (split, n) in enumerate(n_images.items()):
        random = np.random.default_rng([seed, 20_240_229])
        labels_N = random.permutation(np.arange(n) % len(CLASS_NAMES))
        pictures = []
        for start in range(0, n, CHUNK_IMAGES):
            images_NHWC = draw_images(labels_N[start : start + CHUNK_IMAGES], random=random)
            pictures += [_encode(image, grey=random.random() < GREY_PART) for image in images_NHWC]
        table = pa.table({"image": _image_array(pictures, split), "label": labels_N})
        table = table.replace_schema_metadata({"huggingface": json.dumps(_features())})
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")


def draw_images(labels_N: NDArray[np.int64], *, random: np.random.Generator) -> NDArray[np.uint8]:
    """Draws one picture of each given class.

    Args:
        labels_N: indices into `CLASS_NAMES`.
        random: where colours, places and noise come from.

    Returns:
        uint8, (N, 64, 64, 3).
    """
    n = len(labels_N)
    along, across = _turned_grid(random, n, sizes=random.uniform(17, 25, n))
    shape = _shapes(along, across, labels_N % len(SHAPES))
    texture = _textures(random, n, labels_N // len(SHAPES))
    light, dark, back = _colours(random, n)
    surface = np.where(texture[..., None], light, dark)
    image = np.where(shape[..., None], surface, _background(random, n, back))
    noise = random.normal(0, 1, image.shape) * random.uniform(4, 16, (n, 1, 1, 1))
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _turned_grid(random: np.random.Generator, n: int, *, sizes: Floats) -> tuple[Floats, Floats]:
    """Coordinates of every pixel in the frame of a randomly placed and turned unit shape."""
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE].astype(np.float32)
    centre = random.uniform(0.4 * IMAGE_SIZE, 0.6 * IMAGE_SIZE, (2, n, 1, 1))
    angle = random.uniform(-TURN, TURN, (n, 1, 1))
    down, right = (rows - centre[0]), (columns - centre[1])
    scale = np.asarray(sizes).reshape(n, 1, 1)
    along = (np.cos(angle) * right + np.sin(angle) * down) / scale
    across = (np.cos(angle) * down - np.sin(angle) * right) / scale
    return along.astype(np.float32), across.astype(np.float32)


def _shapes(along: Floats, across: Floats, kinds_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    radius, angle = np.hypot(along, across), np.arctan2(across, along)
    sector = (angle % (2 * np.pi / 3)) - np.pi / 3
    inside = (
        radius < 0.95,
        np.maximum(abs(along), abs(across)) < 0.85,
        radius * np.cos(sector) < 0.6,
        radius < 0.8 + 0.4 * np.cos(5 * angle),
        abs(radius - 0.75) < 0.3,
    )
    return np.choose(kinds_N[:, None, None], inside).astype(bool)


def _textures(
    random: np.random.Generator, n: int, kinds_N: NDArray[np.int64]
) -> NDArray[np.bool_]:
    wave_length = random.uniform(12, 16, n) / (2 * np.pi)
    along, across = _turned_grid(random, n, sizes=wave_length)
    stripes = np.sin(along) > 0
    # As light as dark, like the stripes: the mean colour tells nothing.
    checks = np.sin(along) * np.sin(across) > 0
    return np.where(kinds_N[:, None, None] == 0, stripes, checks)


def _colours(random: np.random.Generator, n: int) -> tuple[Floats, Floats, Floats]:
    """Of both halves of the texture, and of the background, which is darker or lighter."""
    brightness = random.choice([-1, 1], (n, 1, 1, 1)) * random.uniform(30, 60, (n, 1, 1, 1))
    base = 128 + brightness + random.normal(0, 25, (n, 1, 1, 3))
    back = 128 - brightness + random.normal(0, 25, (n, 1, 1, 3))
    contrast = random.uniform(25, 50, (n, 1, 1, 1))
    return base + contrast, base - contrast, back


def _background(random: np.random.Generator, n: int, colours: Floats) -> Floats:
    """Coarse blotches, and bars that share colours with nothing in particular."""
    coarse = random.normal(0, 12, (n, 8, 8, 3)).repeat(8, axis=1).repeat(8, axis=2)
    background = colours + coarse
    for _ in range(2):
        along, across = _turned_grid(random, n, sizes=random.uniform(4, 12, n))
        bar = (abs(along) < 1.5) & (abs(across) < 0.3)
        background = np.where(bar[..., None], random.uniform(0, 255, (n, 1, 1, 3)), background)
    return background


def _encode(image_HWC: NDArray[np.uint8], *, grey: bool) -> bytes:
    buffer = BytesIO()
    picture = Image.fromarray(image_HWC)
    (picture.convert("L") if grey else picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _image_array(pictures: list[bytes], split: str) -> pa.Array:
    paths = [f"{split}_{index:05d}.jpg" for index in range(len(pictures))]
    return pa.StructArray.from_arrays(
        [pa.array(pictures, pa.binary()), pa.array(paths, pa.string())], names=["bytes", "path"]
    )


def _features() -> dict[str, object]:
    label = {"names": list(CLASS_NAMES), "_type": "ClassLabel"}
    return {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
