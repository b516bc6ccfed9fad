import os
from pathlib import Path

import pytest

from storage.sqlite_files import find_unwritable
from storage.study_storage import create_study_storage
from tests.tools.unprivileged import unprivileged
from tests.tools.users import requires_root


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o002, 0o664)])
def test_database_has_the_rights_that_the_umask_leaves(
    tmp_path: Path, umask: int, mode: int
) -> None:
    (tmp_path / "own").mkdir(mode=0o755)
    before = os.umask(umask)
    try:
        handle = create_study_storage(f"sqlite:///{tmp_path}/own/study.db", outage_seconds=1)
        files = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "own").iterdir()}
    finally:
        os.umask(before)
    handle.remove_session()
    handle.engine.dispose()
    assert files["study.db"] == mode
    assert set(files.values()) == {mode}


@requires_root
@pytest.mark.parametrize("closed", [".", "study.db", "study.db-wal", "study.db-shm"])
def test_each_file_of_a_database_may_be_in_the_way(tmp_path: Path, closed: str) -> None:
    database = tmp_path / "study.db"
    for name in ("study.db", "study.db-wal", "study.db-shm"):
        (tmp_path / name).touch()
    assert unprivileged(lambda: find_unwritable(database)) is None
    (tmp_path / closed).chmod(0o555)
    assert unprivileged(lambda: find_unwritable(database)) == tmp_path / closed
    tmp_path.chmod(0o755)
