from pathlib import Path

import pytest

from storage.atomic_files import part_files, remove, write_atomically
from storage.errors import AccessDeniedError, RunFolderError
from tests.tools.unprivileged import unprivileged
from tests.tools.users import requires_root


def test_write_atomically_replaces_the_whole_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", b"first, and longer")
    write_atomically(tmp_path / "a.txt", b"second")
    assert (tmp_path / "a.txt").read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_part_of_a_write_that_never_ended_is_found_with_its_process(tmp_path: Path) -> None:
    write_atomically(tmp_path / "below" / "whole.txt", b"whole")
    (tmp_path / "below" / ".whole.txt.77.part").write_bytes(b"half")
    (tmp_path / ".notes.part").write_bytes(b"of somebody else")
    assert part_files(tmp_path, below=False) == []
    (part,) = part_files(tmp_path, below=True)
    assert part.path.name == ".whole.txt.77.part"
    assert part.pid == 77
    assert -1 < part.age_seconds < 60


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


@requires_root
def test_folder_that_cannot_be_removed_names_the_closed_one_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "trial" / "checkpoints"
    closed.mkdir(parents=True)
    (closed / "a.pt").touch()
    closed.chmod(0o555)
    monkeypatch.chdir(tmp_path)  # what is in the way is never looked for in the current folder
    with pytest.raises(AccessDeniedError, match=f"{closed} belongs to user root"):
        unprivileged(lambda: remove(tmp_path / "trial"))
