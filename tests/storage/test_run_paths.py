from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StorageError, StudyNotFoundError
from storage.run_paths import RunPaths, write_atomically


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=2, max_size=5))
def test_every_trial_and_final_run_has_a_folder_of_its_own(slots: list[int]) -> None:
    paths = RunPaths(Path("runs"), "pets")
    folders = [paths.trial(slot).folder for slot in slots]
    folders += [paths.final(slot).folder for slot in slots]
    assert len(set(folders)) == len(folders)
    assert all(folder.is_relative_to("runs/pets") for folder in folders)


def test_first_final_run_lies_in_final() -> None:
    assert RunPaths(Path("runs"), "pets").final(0).metrics == Path("runs/pets/final/metrics.json")


def test_claim_refuses_the_folder_of_another_study(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path, "pets")
    with pytest.raises(StudyNotFoundError, match="has no such study"):
        paths.check("one")
    paths.claim("one")
    paths.claim("one")
    paths.check("one")
    with pytest.raises(StorageError, match="holds another study"):
        paths.claim("two")


def test_write_atomically_replaces_the_whole_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", b"first, and longer")
    write_atomically(tmp_path / "a.txt", b"second")
    assert (tmp_path / "a.txt").read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
