"""Images are counted and measured without being decoded."""

from pathlib import Path

import pytest
from PIL import Image

from data.configuration import DataConfig
from data.errors import DataError
from data.image_sizes import MOST_MEASURED, ImageSizes, measure_images


def write(folder: Path, sizes: list[tuple[int, int]]) -> None:
    folder.mkdir(parents=True)
    for number, size in enumerate(sizes):
        Image.new("RGB", size).save(folder / f"{number:04}.jpg")


def config(folder: Path, **settings: object) -> DataConfig:
    return DataConfig.model_validate({"source": str(folder), **settings})


def test_shorter_side_is_the_median_of_training_images(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a", [(40, 90), (90, 50)])
    write(tmp_path / "train" / "b", [(60, 60), (300, 200)])
    write(tmp_path / "test" / "a", [(9, 9)] * 5)
    assert measure_images(config(tmp_path)) == ImageSizes(4, 2, 50)
    assert list(tmp_path.rglob(".cache")) == []


def test_classes_that_are_not_used_are_not_counted(tmp_path: Path) -> None:
    for name, side in (("a", 10), ("b", 20), ("c", 30)):
        write(tmp_path / name, [(side, side)] * 3)
    assert measure_images(config(tmp_path, n_classes=2)) == ImageSizes(6, 2, 10)


def test_few_of_many_are_measured_from_all_classes(tmp_path: Path) -> None:
    write(tmp_path / "a", [(10, 10)] * (MOST_MEASURED + 40))
    write(tmp_path / "b", [(30, 30)] * (MOST_MEASURED + 60))
    assert measure_images(config(tmp_path)) == ImageSizes(2 * MOST_MEASURED + 100, 2, 30)


def test_broken_images_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "a", [(20, 20)])
    write(tmp_path / "b", [(20, 20), (30, 30)])
    (tmp_path / "b" / "broken.jpg").write_bytes(b"no picture")
    assert measure_images(config(tmp_path)) == ImageSizes(4, 2, 20)
    for path in tmp_path.glob("*/*.jpg"):
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of 4 of .* can be read: correct --data"):
        measure_images(config(tmp_path))


def test_embedded_images_are_measured(tmp_path: Path) -> None:
    sizes = measure_images(DataConfig(cache=tmp_path))
    assert (sizes.n_classes, sizes.shorter_side) == (10, 64)
