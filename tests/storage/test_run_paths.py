from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import RunFolderError, StorageError, StudyNotFoundError
from storage.run_paths import RunPaths, claimed_folders, part_files, remove, write_atomically


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


def test_write_atomically_replaces_the_whole_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", b"first, and longer")
    write_atomically(tmp_path / "a.txt", b"second")
    assert (tmp_path / "a.txt").read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


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


def test_part_of_a_write_that_never_ended_is_found_with_its_process(tmp_path: Path) -> None:
    write_atomically(tmp_path / "below" / "whole.txt", b"whole")
    (tmp_path / "below" / ".whole.txt.77.part").write_bytes(b"half")
    (tmp_path / ".notes.part").write_bytes(b"of somebody else")
    assert part_files(tmp_path, below=False) == []
    (part,) = part_files(tmp_path, below=True)
    assert part.path.name == ".whole.txt.77.part"
    assert part.pid == 77
    assert -1 < part.age_seconds < 60


def test_claimed_folders_tell_their_keys(tmp_path: Path) -> None:
    assert claimed_folders(tmp_path / "none") == {}
    paths = RunPaths(tmp_path, "pets")
    assert paths.key() is None and paths.is_unused()
    paths.claim("one")
    (tmp_path / "by hand").mkdir()
    assert claimed_folders(tmp_path) == {tmp_path / "pets": "one"}
    assert paths.key() == "one" and not paths.is_unused()


def test_range_test_takes_no_folder_from_a_study_that_is_still_to_come(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path, "pets")
    paths.folder.mkdir()
    write_atomically(paths.range_test.record, b"{}")
    assert paths.is_unused()
    write_atomically(paths.folder / "notes", b"of somebody")
    assert not paths.is_unused()


def test_only_the_folder_of_a_file_is_made_so_that_nothing_is_written_below_a_lost_mount(
    tmp_path: Path,
) -> None:
    (tmp_path / "runs").mkdir()
    write_atomically(tmp_path / "runs" / "pets" / "file", b"content")
    with pytest.raises(RunFolderError, match="storage.runs must"):
        write_atomically(tmp_path / "lost" / "pets" / "file", b"content")
    assert not (tmp_path / "lost").exists()


def test_remove_takes_files_folders_and_nothing_alike(tmp_path: Path) -> None:
    write_atomically(tmp_path / "folder" / "file", b"content")
    write_atomically(tmp_path / "file", b"content")
    for name in ("folder", "file", "none"):
        remove(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
