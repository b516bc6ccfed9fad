"""Tiny real data sets, written to disk for the tests of this room."""

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASS_NAMES = ("ant", "bee", "cat")


def picture(seed: int, *, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Image.Image:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def write_tree(
    folder: Path, *, n_per_class: int = 5, names: tuple[str, ...] = CLASS_NAMES
) -> Path:
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(n_per_class):
            picture(100 * label + index).save(folder / name / f"{index}.png")
    return folder


def write_table(
    folder: Path,
    split: str,
    labels: list[int],
    *,
    features: dict[str, dict[str, object]] | None = None,
    contents: Sequence[bytes | None] | None = None,
    paths: Sequence[str | None] | None = None,
) -> Path:
    """One split in the hub's layout; the columns `image` and `label`, or those of `features`."""
    features = features or {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": list(CLASS_NAMES)},
    }
    contents = contents or [encoded(picture(index)) for index in range(len(labels))]
    paths = paths or [None] * len(contents)
    stored = zip(contents, paths, strict=True)
    images = pa.array([{"bytes": content, "path": path} for content, path in stored])
    images = images.cast(pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    columns = {
        name: images if feature["_type"] == "Image" else pa.array(labels, pa.int64())
        for name, feature in features.items()
    }
    table = pa.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    (folder / "data").mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder
