from pathlib import Path

import pytest

from storage.errors import AccessDeniedError
from storage.run_folders import claimed_folders, reject_unwritable
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
