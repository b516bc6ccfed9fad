import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from data import group_rights as data_rights
from storage import group_rights as storage_rights
from tests.tools.users import requires_root

LAB = 61000
pytestmark = requires_root


@pytest.fixture(params=[storage_rights, data_rights], ids=["storage", "data"])
def rights(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """Both rooms follow one rule."""
    module: ModuleType = request.param
    yield module
    module.follow("auto")


@pytest.fixture(params=[0o077, 0o027, 0o022, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def make_folder(path: Path, mode: int) -> Path:
    path.mkdir()
    os.chown(path, 0, LAB)
    path.chmod(mode)
    return path


def facts(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_gid, stat.S_IMODE(found.st_mode)


def create(rights: ModuleType, folder: Path) -> tuple[Path, Path]:
    """Return a new folder and a new file in it."""
    rights.make_folders(folder / "study" / "logs")
    file = folder / "study" / "logs" / "a.log"
    file.touch()
    rights.share(file)
    return file.parent, file


@pytest.mark.parametrize("mode", [0o2775, 0o775, 0o2770, 0o770])
def test_shared_folder_gives_its_group_and_the_rights_of_the_group(
    rights: ModuleType, umask: int, mode: int, tmp_path: Path
) -> None:
    folder, file = create(rights, make_folder(tmp_path / "lab", mode))
    others = 0o007 & ~umask
    assert facts(folder) == (LAB, mode & 0o2000 | 0o770 | others)
    assert facts(folder.parent) == facts(folder)
    assert facts(file) == (LAB, 0o660 | others & 0o006)


@pytest.mark.parametrize("mode", [0o2755, 0o755, 0o700, 0o1777])
def test_umask_alone_counts_in_any_other_folder(
    rights: ModuleType, umask: int, mode: int, tmp_path: Path
) -> None:
    folder, file = create(rights, make_folder(tmp_path / "own", mode))
    group = LAB if mode & 0o2000 else os.getegid()
    assert facts(folder) == (group, mode & 0o2000 | 0o777 & ~umask)
    assert facts(file) == (group, 0o666 & ~umask)


@pytest.mark.parametrize("mode", [0o2775, 0o755])
def test_setting_overrules_the_folder(
    rights: ModuleType, umask: int, mode: int, tmp_path: Path
) -> None:
    rights.follow(True)
    _, file = create(rights, make_folder(tmp_path / "open", mode))
    assert facts(file)[1] == 0o660 | 0o006 & ~umask
    rights.follow(False)
    _, file = create(rights, make_folder(tmp_path / "closed", mode))
    assert facts(file)[1] == 0o666 & ~umask


def test_file_of_another_user_stays_as_it_is(rights: ModuleType, tmp_path: Path) -> None:
    file = make_folder(tmp_path / "lab", 0o2775) / "a.txt"
    file.touch(mode=0o600)
    os.chown(file, 61001, 61001)
    rights.share(file)
    assert facts(file) == (61001, 0o600)


def test_folder_that_is_a_file_is_rejected(rights: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(FileExistsError):
        rights.make_folders(tmp_path / "a")


def test_built_folder_is_shared_with_all_that_is_in_it(tmp_path: Path) -> None:
    lab = make_folder(tmp_path / "lab", 0o2770)
    built = lab / "built"
    (built / "data").mkdir(mode=0o700, parents=True)
    (built / "data" / "a.parquet").touch(mode=0o600)
    data_rights.share_tree(built)
    for folder in (built, built / "data"):
        assert facts(folder)[0] == LAB and facts(folder)[1] & 0o2070 == 0o2070
    assert facts(built / "data" / "a.parquet") == (LAB, 0o660)
