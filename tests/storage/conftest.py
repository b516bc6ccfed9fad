from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.study_storage import StudyStorage, create_study_storage


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[StudyStorage]:
    opened = create_study_storage(f"sqlite:///{tmp_path}/study.db", outage_seconds=5)
    yield opened
    opened.remove_session()
    opened.engine.dispose()


@pytest.fixture
def new_handle(tmp_path: Path) -> Iterator[Callable[[], StudyStorage]]:
    """Return what opens one new database after the other."""
    opened: list[StudyStorage] = []

    def create() -> StudyStorage:
        url = f"sqlite:///{tmp_path}/study-{len(opened)}.db"
        opened.append(create_study_storage(url, outage_seconds=5))
        return opened[-1]

    yield create
    for one in opened:
        one.remove_session()
        one.engine.dispose()
