import os
import pwd
import shutil
from pathlib import Path

import pytest

from storage.access import describe_denial, describe_obstacle, find_denied_file, find_obstacle
from storage.atomic_files import write_atomically
from storage.errors import AccessDeniedError
from tests.tools.unprivileged import unprivileged
from tests.tools.users import requires_root

pytestmark = requires_root


def test_obstacle_is_the_closed_folder_the_file_or_the_folder_around_it(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "a.txt").touch()
    (tmp_path / "b.txt").touch(mode=0o444)
    closed.chmod(0o600)

    def found() -> list[Path]:
        return [find_obstacle(path) for path in (closed / "a.txt", tmp_path / "b.txt")]

    assert unprivileged(found) == [closed, tmp_path / "b.txt"]
    assert unprivileged(lambda: find_obstacle(tmp_path / "new.txt")) == tmp_path


def test_line_names_owner_group_and_the_command_that_helps(tmp_path: Path) -> None:
    file = tmp_path / "a b.pt"
    file.touch(mode=0o600)
    os.chown(file, 1, 61000)
    line = unprivileged(lambda: describe_obstacle(file))
    assert line.startswith(f"{file} belongs to user daemon, group 61000 (-rw-------), and you are")
    assert f"`chgrp -R GROUP '{file}' && chmod -R g+rwX '{file}'`" in line


def test_owner_is_told_to_open_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    file.touch(mode=0o400)
    assert f"open it with `chmod -R u+rwX {file}`" in unprivileged(lambda: describe_obstacle(file))


def test_closed_file_is_found_behind_the_error_that_hides_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir(mode=0o555)
    with pytest.raises(AccessDeniedError) as rejected:
        unprivileged(lambda: write_atomically(folder / "a.txt", b""))
    said = str(rejected.value)
    assert "a.txt cannot be written (Permission denied)" in said and "belongs to user root" in said
    found = find_denied_file(rejected.value)
    assert found is not None and found.parent == folder
    assert describe_denial(said, found) == said
    assert describe_denial("no", found).startswith(f"no: {folder} belongs to user root")
    assert find_denied_file(ValueError()) is None


@pytest.mark.parametrize("folder", ["/", "/usr", "/tmp", "home"])
def test_no_line_suggests_to_open_the_system_or_a_home(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = next(Path(one.pw_dir) for one in pwd.getpwall() if one.pw_dir.count("/") > 1)
    path = home if folder == "home" else Path(folder)
    monkeypatch.setattr("os.geteuid", lambda: 61003)
    line = describe_obstacle(path / "report.html")
    assert line.startswith(f"{path} belongs to user") and "chmod" not in line
    assert line.endswith("you are 61003: give a folder of yours, or one of a group of both")


def test_file_of_a_removed_tree_is_not_looked_for_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.pt").touch()
    (tmp_path / "tree").chmod(0o555)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PermissionError) as denied:
        unprivileged(lambda: shutil.rmtree(tmp_path / "tree"))
    assert denied.value.filename == "a.pt"
    assert find_denied_file(denied.value) is None
    monkeypatch.chdir(tmp_path / "tree")  # here it is that file
    assert find_denied_file(denied.value) == Path("a.pt")
