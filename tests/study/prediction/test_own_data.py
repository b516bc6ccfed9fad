"""Images of the study's own test split are rejected, its other images are pointed out."""

from pathlib import Path
from typing import Any

import pytest

from data.sources.given_pictures import find_given_pictures
from study.errors import StudyError
from study.export.data_origin import digest_path
from study.prediction.own_data import reject_test_images
from tests.data.sources.layouts import touch

SPLITS = {"train": "train", "validation": "10% held out from train", "test": "seg_test/images"}


def origin(source: Path, **changes: Any) -> dict[str, Any]:
    values = {"study": "tiny", "data_folder_digest": digest_path(str(source))}
    return values | {"data_splits": SPLITS} | changes


def said(*names: Path, **values: Any) -> str:
    given = find_given_pictures(map(str, names))
    return reject_test_images([path for one in given for path in one.paths], values)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    touch(folder, "train/bee/1.png", "train/bee/2.png", "train/ant/3.png")
    return touch(folder, "seg_test/images/bee/4.png", "seg_test/other/5.png", "6.png")


def test_pictures_of_the_test_folder_are_rejected_however_they_are_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = source / "seg_test" / "images"
    (tmp_path / "folder").symlink_to(test)
    (tmp_path / "picture.png").symlink_to(test / "bee" / "4.png")
    touch(tmp_path, "others/1.png")
    monkeypatch.chdir(test / "bee")
    links = (tmp_path / "folder", tmp_path / "picture.png")
    for name in (source, test, test / "bee" / "4.png", Path("4.png"), Path("../.."), *links):
        with pytest.raises(StudyError, match="must not be of the test split of study 'tiny'"):
            said(tmp_path / "others", name, **origin(source))


def test_other_pictures_of_the_study_are_pointed_out(source: Path) -> None:
    line = said(source / "train", source / "6.png", source / "seg_test/other", **origin(source))
    counts = "2 in its folder, 3 in its train split"
    assert line.startswith(f"caution: these images are of study 'tiny' itself ({counts}), on")


def test_held_out_test_images_are_pointed_out_with_the_rest(source: Path) -> None:
    held_out = {"train": "the source", "test": "10% held out from the source"}
    line = said(source, **origin(source, data_splits=held_out))
    assert "itself (6 in its folder), on" in line


def test_other_folders_are_of_no_study(source: Path, tmp_path: Path) -> None:
    touch(tmp_path, "photos-2/seg_test/images/bee/4.png")
    assert said(tmp_path / "photos-2", **origin(source)) == ""
    assert said(source, **origin(source, data_folder_digest=None)) == ""
    assert said(source) == ""
