"""Links with readable names to the runs of a study, while it goes on."""

from pathlib import Path

import pytest

from dashboards.servers.run_links import RunLinks, linked_runs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in ("trials/00000", "final", "lr-range"):
        (tmp_path / "runs" / place / "tensorboard").mkdir(parents=True)
    return tmp_path / "runs"


def test_runs_have_readable_names_and_the_folders_keep_theirs(folder: Path) -> None:
    names = {folder / "trials" / "00000" / "tensorboard": "000 lr=0.1 kind=a/b\n"}
    before = sorted(folder.rglob("*"))
    with linked_runs(folder, lambda: names) as links:
        shown = {link.name: link.resolve() for link in links.iterdir()}
        assert shown == {
            "000 lr=0.1 kind=a-b-": folder / "trials" / "00000" / "tensorboard",
            "final": folder / "final" / "tensorboard",
            "lr-range": folder / "lr-range" / "tensorboard",
        }
        assert links.stat().st_mode & 0o077 == 0
    assert not links.exists() and sorted(folder.rglob("*")) == before


def test_new_run_is_linked_and_a_name_never_changes(folder: Path, tmp_path: Path) -> None:
    first, second = (folder / "trials" / f"{slot:05}" / "tensorboard" for slot in range(2))
    names = {first: "000 lr=0.1"}
    (tmp_path / "links").mkdir()
    links = RunLinks(folder, tmp_path / "links", lambda: names)
    links.refresh()
    second.mkdir(parents=True)
    names |= {first: "000 lr=0.2", second: "001 lr=0.3"}
    links.refresh()
    links.refresh()
    found = {link.name for link in (tmp_path / "links").iterdir()}
    assert found == {"000 lr=0.1", "001 lr=0.3", "final", "lr-range"}


def test_very_long_name_is_cut(folder: Path) -> None:
    path = folder / "trials" / "00000" / "tensorboard"
    with linked_runs(folder, lambda: {path: "é" * 500}) as links:
        assert max(len(link.name) for link in links.iterdir()) == 120


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("007 " + "wd=0.001 " * 20, "007" + " wd=0.001" * 13),  # 120 characters
        ("0007 " + "wd=0.001 " * 20, "0007" + " wd=0.001" * 12),
        ("007 lr=0.1", "007 lr=0.1"),
    ],
)
def test_long_name_ends_with_a_whole_word(folder: Path, name: str, shown: str) -> None:
    path = folder / "trials" / "00000" / "tensorboard"
    with linked_runs(folder, lambda: {path: name}) as links:
        assert {link.name for link in links.iterdir()} == {shown, "final", "lr-range"}
