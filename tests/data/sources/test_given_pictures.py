"""Names of files, folders and patterns become pictures in order, each once, or one clear line."""

import os
from pathlib import Path

import pytest

from data.errors import DataError
from data.sources.given_pictures import find_given_pictures, label_by_folders
from tests.data.sources.layouts import touch


def paths(*names: Path | str) -> list[str]:
    return [path for one in find_given_pictures(map(str, names)) for path in one.paths]


def below(folder: Path, *names: Path | str) -> list[str]:
    return [os.path.relpath(path, folder) for path in paths(*names)]


def rejection(*names: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        paths(*names)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folder_gives_its_pictures_in_the_order_of_their_paths(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a/2.JPG", "a/1.webp", "a-1/9.png", "c/d/5.gif")
    touch(tmp_path, "notes.txt", ".hidden/1.png", "c/.2.png")
    expected = ["a/1.webp", "a/2.JPG", "a-1/9.png", "b.png", "c/d/5.gif"]
    assert below(tmp_path, tmp_path) == expected
    assert below(tmp_path, f"{tmp_path}/") == expected


def test_names_keep_their_order_and_a_picture_counts_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "a/2.png", "3.png", "4.picture")
    named = (tmp_path / "4.picture", tmp_path / "a", tmp_path / "3.png", tmp_path / "a" / "1.png")
    assert below(tmp_path, *named) == ["4.picture", "a/1.png", "a/2.png", "3.png"]


def test_names_stay_as_they_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.png", "2.png")
    monkeypatch.chdir(tmp_path)
    assert paths("a", "./2.png", "*.png") == ["a/1.png", "2.png"]
    assert paths(".", "2.png") == ["2.png", "a/1.png"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["1.png", "[3].png"]),
        ("[3].png", ["[3].png"]),  # there is a file of this name
        ("?.png", ["1.png"]),
        ("*/*", ["a/2.png", "a/b/4.png"]),
        ("**", ["1.png", "[3].png", "a/2.png", "a/b/4.png"]),
        ("**/[24].png", ["a/2.png", "a/b/4.png"]),
    ],
)
def test_pattern_gives_the_pictures_that_match(
    tmp_path: Path, pattern: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "1.png", "[3].png", "a/2.png", "a/b/4.png", "a/notes.txt", ".5.png")
    monkeypatch.chdir(tmp_path)
    assert paths(pattern) == expected
    assert below(tmp_path, tmp_path / pattern) == expected


def test_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.png")
    (tmp_path / "folder").symlink_to("elsewhere")
    (tmp_path / "picture.png").symlink_to("elsewhere/1.png")
    named = (tmp_path / "folder", tmp_path / "picture.png", tmp_path / "p*.png")
    assert below(tmp_path, *named) == ["folder/1.png", "picture.png"]


def test_what_is_no_picture_is_rejected_with_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "empty/a.heic", "empty/b.heic", "notes.txt")
    assert rejection(tmp_path / "away.png") == (
        f"IMAGES must exist, '{tmp_path}/away.png' does not; correct the path"
    )
    assert rejection(tmp_path / "empty") == (
        f"IMAGES must hold pictures, folder '{tmp_path}/empty' has none (2 .heic files); name "
        "another one"
    )
    assert "matches none (it matches 1 other file); " in rejection(tmp_path / "*.txt")
    assert "matches none (nothing matches it); " in rejection(tmp_path / "*.png")


def test_pipes_dead_links_and_endless_folders_are_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dead.png").symlink_to("away.png")
    (tmp_path / "endless").mkdir()
    (tmp_path / "endless" / "again").symlink_to(".")
    for name in ("pipe.png", "dead.png", "p*.png", "d*.png"):
        assert rejection(tmp_path / name).startswith("IMAGES: '")
        assert "must be a file or folder, or a link to one" in rejection(tmp_path / name)
    assert rejection(tmp_path / "endless").startswith("IMAGES: folder '")


def test_names_that_are_not_utf8_are_found_and_readable_in_messages(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path / "f") + b"\xff")
    touch(Path(folder), "1.png")
    assert paths(folder) == [f"{folder}/1.png"]
    assert "f\\xff/2.png' does not" in rejection(f"{folder}/2.png")


def labels(*names: Path | str, any_folder: bool = False) -> tuple[list[int], list[str]]:
    given = find_given_pictures(map(str, names))
    return label_by_folders(given, ["ant", "bee"], any_folder=any_folder)


def test_class_of_a_picture_is_the_nearest_folder_called_like_one(tmp_path: Path) -> None:
    touch(tmp_path / "ant", "x/ant/1.png", "x/bee/2.png", "y/bee/images/3.png", "bee/ant/4.png")
    touch(tmp_path / "ant", "Bee/5.png", "6.png", "z/7.png")
    found, unknown = labels(tmp_path / "ant")
    assert found == [-1, -1, 0, 0, 1, 1, -1]
    assert unknown == [f"{tmp_path}/ant", f"{tmp_path}/ant/Bee", f"{tmp_path}/ant/z"]


def test_current_folder_says_the_class_where_any_folder_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "bee/1.png")
    monkeypatch.chdir(tmp_path / "bee")
    assert labels(".", any_folder=True) == labels("1.png", any_folder=True) == ([1], [])


def test_picture_of_two_spellings_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/1.png", "a/2.png")
    (tmp_path / "b").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    assert paths("a", str(tmp_path / "a"), "a/../a/1.png", "b") == ["a/1.png", "a/2.png"]


def test_empty_name_is_not_the_current_folder() -> None:
    assert rejection("") == "IMAGES must be named, one name is empty; name files or folders"


def test_folder_that_was_named_says_the_class_only_where_any_folder_may(tmp_path: Path) -> None:
    touch(tmp_path, "bee/1.png", "ant/2.png")
    named = (tmp_path / "bee", tmp_path / "ant" / "2.png")
    assert labels(*named) == ([-1, -1], [f"{tmp_path}/bee", f"{tmp_path}/ant"])
    assert labels(*named, any_folder=True) == ([1, 0], [])
