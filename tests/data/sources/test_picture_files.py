"""Every file that Pillow decodes is a picture; every other one is counted."""

import os
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from data.configuration import DataConfig
from data.errors import DataError
from data.image_cache import prepare
from data.sources.folder_walk import RUNS_MARKER
from data.sources.picture_files import PICTURE_ENDINGS, UNUSED_FORMATS, is_picture
from tests.data.pictures import encoded, picture, write_tree
from tests.data.sources.layouts import classes, counts, found, left_out, rejection, touch
from tests.tools.unprivileged import unprivileged


def test_endings_are_those_of_the_formats_that_pillow_decodes() -> None:
    endings = Image.registered_extensions()
    stubs = {
        name
        for name, (factory, _) in Image.OPEN.items()
        if isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
    }
    assert stubs < UNUSED_FORMATS
    opened = Image.OPEN.keys() - UNUSED_FORMATS | {"MPO"}  # which the plugin of JPEG opens
    assert {ending for ending, name in endings.items() if name in opened} == PICTURE_ENDINGS


@pytest.mark.parametrize("ending", ["avif", "jfif", "jp2", "jpe", "pnm", "tga", "JPG", "webp"])
def test_picture_of_any_ending_is_decoded(tmp_path: Path, ending: str) -> None:
    tree = write_tree(tmp_path / "tree")
    kind = Image.registered_extensions()[f".{ending.lower()}"]
    (tree / "bee" / f"9.{ending}").write_bytes(encoded(picture(9), kind))
    config = DataConfig(source=str(tree), image_size=8, cache=tmp_path / "cache")
    assert sum(prepare(config).description.counts.values()) == 16


def test_file_without_an_ending_is_a_picture_by_its_first_bytes(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("."), "ant/LICENSE")
    (tree / "ant" / "photo").write_bytes(encoded(picture(1)))
    (tree / "ant" / "text").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    images = found(tree).encoded
    assert counts(images)["train"]["ant"] == 4
    assert left_out(images) == {(None, "files without an ending"): 2}


def test_unreadable_file_without_an_ending_is_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "photo")
    (tree / "photo").chmod(0)

    def said() -> str:
        with pytest.raises(DataError) as caught:
            is_picture(str(tree), "photo")
        return str(caught.value)

    assert "photo' cannot be read (Permission denied)" in unprivileged(said)


def test_other_files_are_counted_by_ending_with_the_first_as_examples(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("train"), *classes("test"), "study.db", "run.log")
    touch(tree, *[f"train/bee/{n}.HEIC" for n in range(7)])
    images = found(tree).encoded
    assert left_out(images) == {
        ("train", ".heic files"): 7,
        (None, ".db files"): 1,
        (None, ".log files"): 1,
    }
    (heic,) = (item for item in images.left_out if "heic" in item.reason)
    assert heic.examples == tuple(f"train/bee/{n}.HEIC" for n in range(5))


def test_class_without_pictures_says_what_it_holds(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("."), "dog/0.heic", "dog/1.heic", "dog/notes.txt")
    assert "dog' must hold images, it holds 2 .heic files, 1 .txt file; add" in rejection(tree)
    none = touch(tmp_path / "none", "ant/0.heic", "bee/0.heic")
    assert "it has no images (2 .heic files); point --data" in rejection(none)


def test_hidden_files_cache_and_runs_are_neither_used_nor_counted(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("."), ".hidden/0.png", "ant/.0.png", "cache/0.png")
    touch(tree, f"runs/{RUNS_MARKER}", "runs/study/mistakes.png")
    images = found(tree, cache=tree / "cache").encoded
    assert counts(images) == {"train": {"ant": 3, "bee": 3}}
    assert images.left_out == ()


def test_source_that_is_the_runs_folder_too_holds_its_pictures(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *classes("."), RUNS_MARKER, "study.db")
    touch(tree, f"study/{RUNS_MARKER}", "study/mistakes.png", f"data-0/{RUNS_MARKER}")
    assert counts(found(tree).encoded) == {"train": {"ant": 3, "bee": 3}}


def test_names_that_are_no_utf8_are_recorded_readably(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    tree = touch(tmp_path / "tree", *classes(f"train/{odd}"), f"train/{odd}/a.{odd}", f"{odd}.txt")
    images = found(tree).encoded
    assert images.splits["train"].name == "train"
    assert left_out(images) == {("train", ".caf\\xe9 files"): 1, (None, ".txt files"): 1}
    assert [item.model_dump_json() for item in images.left_out]
    images.splits["train"].read(images.splits["train"].labels_N)[0].name.encode()
    beside = touch(tmp_path / "beside", *classes("train"), *classes(odd))
    assert "'caf\\xe9' (6 images) is none" in rejection(beside)
    assert "class folder 'caf\\xe9'" in rejection(
        touch(tmp_path / "classes", f"{odd}/0.png", "b/0.png")
    )
