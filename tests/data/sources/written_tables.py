"""Small tables and shards in the layouts of real life, written to disk for the tests beside."""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.configuration import DataConfig
from data.errors import DataError
from data.sources.encoded_images import EncodedImages
from data.sources.tables.table_folders import find_tables
from tests.data.pictures import CLASS_NAMES, encoded, picture

IMAGE = {"_type": "Image"}
IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def write_parquet(
    path: Path,
    labels: Sequence[object] | pa.Array,
    *,
    names: Sequence[str] | None = CLASS_NAMES,
    label: str = "label",
    paths: Sequence[str] | None = None,
) -> Path:
    """One file: rows of pictures, or of paths; `names` makes the labels a ClassLabel."""
    images = pa.array(
        [{"bytes": encoded(picture(row)), "path": None} for row in range(len(labels))]
        if paths is None
        else [{"bytes": None, "path": name} for name in paths],
        IMAGE_TYPE,
    )
    features: dict[str, object] = {"image": IMAGE}
    if names is not None:
        features[label] = {"_type": "ClassLabel", "names": list(names)}
    table = pa.table({"image": images, label: pa.array(labels)})
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def write_shard(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def find(folder: Path, **changes: object) -> tuple[str, ...]:
    """The files that count, relative to the folder."""
    found = find_tables(folder, DataConfig.model_validate({"source": str(folder)} | changes))
    assert found is not None
    return tuple(str(path.relative_to(folder)) for path in found.files)


def open_folder(folder: Path, **changes: object) -> EncodedImages:
    found = find_tables(folder, DataConfig.model_validate({"source": str(folder)} | changes))
    assert found is not None
    scratch = folder.with_name(f"{folder.name}-scratch")
    scratch.mkdir(exist_ok=True)
    images = found.open(scratch=scratch)
    return replace(images, left_out=images.left_out + found.left_out)


def reject_folder(folder: Path, **changes: object) -> str:
    with pytest.raises(DataError) as caught:
        open_folder(folder, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labels_of(images: EncodedImages) -> dict[str, list[int]]:
    return {split: part.labels_N.tolist() for split, part in images.splits.items()}


def contents_of(images: EncodedImages, split: str = "train") -> list[bytes | Path | None]:
    part = images.splits[split]
    return [image.content for image in part.read(np.arange(len(part.labels_N)))]
