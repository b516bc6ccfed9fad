"""The data's part of a study's report, of small real folders of pictures."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dashboards.report.data_section import DataSection, read_data_section
from dashboards.report.html import MOST_PIXELS, thumbnail, write_page
from data.configuration import DataConfig
from data.image_cache import PreparedData, prepare
from storage.records import Protocol
from tests.dashboards.report.test_report import Page

HOSTILE = "<script>alert(1)<!--"
GUESS = {"accuracy": 0.25, "macro_f1": 0.125}


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedData:
    """Sixteen classes of ten random pictures each."""
    random = np.random.default_rng(0)
    for name in (HOSTILE, *(f"class {n:02}" for n in range(15))):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for index in range(10):
            pixels = random.integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "tree" / name / f"{index}.png")
    return prepare(_config(tmp_path))


def _config(folder: Path) -> DataConfig:
    return DataConfig(source=str(folder / "tree"), image_size=8, cache=folder / "cache")


@pytest.fixture
def protocol(prepared: PreparedData, tmp_path: Path) -> Protocol:
    return Protocol(
        study_name="pictures",
        budget=1,
        configuration={
            "seed": 3,
            "data": _config(tmp_path).model_dump(mode="json"),
            "augmentation": {"brightness": 0.4},
        },
        fingerprint="f" * 64,
        facts={
            "data_fingerprint": prepared.fingerprint,
            "class_names": list(prepared.class_names),
            "n_examples": prepared.description.counts,
            "baselines": {"majority": GUESS},
        },
    )


def page_of(part: DataSection, folder: Path) -> Page:
    write_page(folder / "data.html", "report_data.html", {"data": part})
    return Page((folder / "data.html").read_text(encoding="utf-8"))


def test_data_section_needs_neither_the_source_nor_the_test_images(
    prepared: PreparedData, protocol: Protocol, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "tree")
    for file in prepared.folder.glob("test*"):
        file.unlink()
    page = page_of(read_data_section(protocol, runs=tmp_path / "runs"), tmp_path)
    assert prepared.fingerprint in page.text and "12 of the 16 classes" in page.text
    assert page.tags["svg"] == 3 and page.tags["img"] == 12 * 5 + 4 * 5
    assert page.tags["script"] == 0 and HOSTILE in page.text
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)


def test_data_section_says_what_init_noted_of_the_data(
    prepared: PreparedData, protocol: Protocol, tmp_path: Path
) -> None:
    noted = {
        "origins": prepared.description.origins,
        "left_out": [{"split": None, "reason": HOSTILE, "count": 12, "examples": ["old"]}],
        "cautions": ["one class is small"],
    }
    told = replace(protocol, facts=protocol.facts | noted)
    for cache in (None, tmp_path / "nowhere"):
        part = read_data_section(told, runs=tmp_path / "runs", cache=cache)
        page = page_of(part, tmp_path)
        assert "validation10% held out from " in page.text
        assert f"12source{HOSTILE}old, …" in page.text.replace("\n", "")
        assert "Caution: one class is small." in page.text


def test_data_section_shows_training_images_of_their_class_and_the_same_each_time(
    prepared: PreparedData, protocol: Protocol, tmp_path: Path
) -> None:
    first, again = (read_data_section(protocol, runs=tmp_path / "runs") for _ in range(2))
    assert first.classes is not None and again.classes is not None
    examples = prepared.train()
    for one, other in zip(first.classes, again.classes, strict=True):
        label = prepared.class_names.index(one.name)
        known = {image.tobytes() for image in examples.images_NHWC[examples.labels_N == label]}
        assert all(picture.tobytes() in known for picture in one.pictures)
        assert np.array_equal(one.pictures, other.pictures)
    other = replace(protocol, configuration=protocol.configuration | {"seed": 4})
    moved = read_data_section(other, runs=tmp_path / "runs").classes
    assert moved is not None
    assert not np.array_equal(moved[0].pictures, first.classes[0].pictures)


def test_data_section_without_the_decoded_images_says_where_it_looked(
    protocol: Protocol, tmp_path: Path
) -> None:
    part = read_data_section(protocol, runs=tmp_path / "runs", cache=tmp_path / "<nowhere>")
    page = page_of(part, tmp_path)
    assert "are not in " in page.text and "<nowhere>" in page.text
    assert page.tags["img"] == page.tags["svg"] == 0
    assert "majority0.125025.00 %" in page.text.replace("\n", "")
    assert not (tmp_path / "<nowhere>").exists()


@pytest.mark.parametrize("size", [1, MOST_PIXELS, MOST_PIXELS + 1, 300])
def test_thumbnail_is_bounded_and_leaves_small_images_alone(size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    small = thumbnail(image)
    assert small.shape == (min(size, MOST_PIXELS),) * 2 + (3,)
    assert size > MOST_PIXELS or np.array_equal(small, image)
