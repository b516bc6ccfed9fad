from pathlib import Path

import pytest

from storage.errors import AccessDeniedError
from storage.run_folders import claimed_folders, lies_in_runs, reject_unwritable
from storage.run_paths import RunPaths
from tests.tools.unprivileged import unprivileged
from tests.tools.users import requires_root


def test_claimed_folders_tell_their_keys(tmp_path: Path) -> None:
    assert claimed_folders(tmp_path / "none") == {}
    paths = RunPaths(tmp_path, "pets")
    assert paths.key() is None and paths.is_unused()
    paths.claim("one")
    (tmp_path / "by hand").mkdir()
    assert claimed_folders(tmp_path) == {tmp_path / "pets": "one"}
    assert paths.key() == "one" and not paths.is_unused()


@requires_root
def test_worker_rejects_a_folder_of_trials_that_is_closed(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path, "pets")
    paths.claim("one")
    unprivileged(lambda: reject_unwritable(paths))
    (paths.folder / "trials").mkdir(mode=0o555)
    with pytest.raises(AccessDeniedError, match=r"pets is not: .*trials belongs to user root"):
        unprivileged(lambda: reject_unwritable(paths))


@requires_root
def test_path_in_a_folder_that_is_closed_to_this_user_lies_in_no_runs(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert not unprivileged(lambda: lies_in_runs(closed / "page.html"))
