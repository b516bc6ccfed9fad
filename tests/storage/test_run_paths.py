from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.atomic_files import write_atomically
from storage.errors import StorageError, StudyNotFoundError
from storage.run_paths import RunPaths


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=2, max_size=5))
def test_every_trial_and_final_run_has_a_folder_of_its_own(slots: list[int]) -> None:
    paths = RunPaths(Path("runs"), "pets")
    folders = [paths.trial(slot).folder for slot in slots]
    folders += [paths.final(slot).folder for slot in slots]
    assert len(set(folders)) == len(folders)
    assert all(folder.is_relative_to("runs/pets") for folder in folders)


def test_first_final_run_lies_in_final() -> None:
    assert RunPaths(Path("runs"), "pets").final(0).metrics == Path("runs/pets/final/metrics.json")


def test_claim_rejects_the_folder_of_another_study(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path, "pets")
    with pytest.raises(StudyNotFoundError, match="has no such study"):
        paths.check("one")
    paths.claim("one")
    paths.claim("one")
    paths.check("one")
    with pytest.raises(StorageError, match="holds another study"):
        paths.claim("two")


@given(
    trials=st.sets(st.integers(0, 10**6).filter(lambda slot: slot != 8), max_size=4),
    finals=st.sets(st.integers(0, 99), max_size=4),
)
@settings(max_examples=20)
def test_folders_are_found_by_their_slots_and_others_are_not(
    tmp_path_factory: pytest.TempPathFactory, trials: set[int], finals: set[int]
) -> None:
    paths = RunPaths(tmp_path_factory.mktemp("runs"), "pets")
    assert paths.trial_folders() == paths.final_folders() == {}
    for slot in trials:
        paths.trial(slot).folder.mkdir(parents=True)
    for slot in finals:
        paths.final(slot).folder.mkdir(parents=True)
    for name in ("final-1", "final-02", "finals", "trials/7", "trials/notes", "trials/0000007"):
        (paths.folder / name).mkdir(parents=True)
    (paths.folder / "trials" / "00008").symlink_to(paths.folder / "finals")
    assert paths.trial_folders() == {slot: paths.trial(slot) for slot in sorted(trials)}
    assert paths.final_folders() == {slot: paths.final(slot) for slot in sorted(finals)}


def test_range_test_takes_no_folder_from_a_study_that_is_still_to_come(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path, "pets")
    paths.folder.mkdir()
    write_atomically(paths.range_test.record, b"{}")
    assert paths.is_unused()
    write_atomically(paths.folder / "notes", b"of somebody")
    assert not paths.is_unused()
