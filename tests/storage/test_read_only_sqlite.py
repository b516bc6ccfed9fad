import pickle
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from sqlalchemy.engine import make_url

from storage.engines import reading_options
from storage.errors import StorageError
from storage.study_storage import StudyStorage, create_study_storage, open_study_storage
from tests.tools.unprivileged import unprivileged


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a study that nobody has open."""
    path = tmp_path_factory.mktemp("finished") / "study.db"
    handle = create_study_storage(f"sqlite:///{path}", outage_seconds=1)
    optuna.create_study(storage=handle, study_name="first")
    handle.remove_session()
    handle.engine.dispose()
    return path


@pytest.fixture
def kept(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """The same as a file of 0444 in a folder of 0555."""
    folder = tmp_path / "kept"
    folder.mkdir()
    shutil.copy(finished, folder)
    (folder / finished.name).chmod(0o444)
    folder.chmod(0o555)
    yield folder / finished.name
    folder.chmod(0o755)


def opened(path: Path) -> StudyStorage:
    return open_study_storage(f"sqlite:///{path}", outage_seconds=0, read_only=True)


def names(handle: StudyStorage) -> list[str]:
    try:
        return [study.study_name for study in handle.get_all_studies()]
    finally:
        handle.remove_session()


def test_database_that_nobody_has_open_is_read_where_nothing_can_be_written(
    kept: Path, tmp_path: Path
) -> None:
    (tmp_path / "linked").symlink_to(kept)
    for path in (kept, tmp_path / "linked"):
        assert unprivileged(lambda path=path: names(opened(path))) == ["first"]
    assert unprivileged(lambda: names(pickle.loads(pickle.dumps(opened(kept))))) == ["first"]
    assert {path.name for path in kept.parent.iterdir()} == {"study.db"}


def test_reader_sees_what_the_owner_adds_meanwhile(kept: Path) -> None:
    def looks() -> list[list[str]]:
        reader = opened(kept)
        before = names(reader)
        kept.parent.chmod(0o755)
        kept.chmod(0o644)
        owner = open_study_storage(f"sqlite:///{kept}", outage_seconds=1)
        optuna.create_study(storage=owner, study_name="second")
        owner.remove_session()
        kept.parent.chmod(0o555)
        meanwhile = names(reader)  # the second is in the log only
        kept.parent.chmod(0o755)
        owner.engine.dispose()  # merges the log and removes it
        kept.parent.chmod(0o555)
        return [before, meanwhile, names(reader)]

    both = ["first", "second"]
    assert unprivileged(looks) == [["first"], both, both]


def test_log_that_cannot_be_read_is_rejected_not_passed_over(kept: Path, tmp_path: Path) -> None:
    kept.parent.chmod(0o755)
    kept.chmod(0o644)
    writer = sqlite3.connect(kept)
    writer.execute("CREATE TABLE things (name TEXT)")
    copy = tmp_path / "copied"
    copy.mkdir()
    for name in (kept.name, f"{kept.name}-wal"):
        shutil.copy(kept.with_name(name), copy / name)
    writer.close()
    copy.chmod(0o555)
    with pytest.raises(StorageError, match=r"study\.db-wal is there: copy both files"):
        unprivileged(lambda: opened(copy / kept.name))
    copy.chmod(0o755)
    assert names(opened(copy / kept.name)) == ["first"]


def test_writer_is_rejected_in_one_line_and_a_writable_folder_is_read_as_ever(
    kept: Path, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="database that you can write") as rejected:
        unprivileged(lambda: open_study_storage(f"sqlite:///{kept}", outage_seconds=0))
    assert len(str(rejected.value).splitlines()) == 1
    assert reading_options(make_url(f"sqlite:///{tmp_path}/study.db")) == {}
    assert reading_options(make_url("postgresql+psycopg://me@there/studies")) == {}
