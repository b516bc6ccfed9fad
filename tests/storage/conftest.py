from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.study_storage import StudyStorage, create_study_storage


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[StudyStorage]:
    opened = create_study_storage(f"sqlite:///{tmp_path}/study.db", outage_seconds=5)
    yield opened
    opened.remove_session()
    opened.engine.dispose()
