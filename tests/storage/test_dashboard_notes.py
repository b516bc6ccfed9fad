from collections.abc import Callable

import pytest

from storage.study_storage import StudyStorage
from tests.storage.note_rules import NOTE_RULES


@pytest.mark.parametrize("rule", NOTE_RULES)
def test_note_on_sqlite(rule: Callable[[StudyStorage], None], handle: StudyStorage) -> None:
    rule(handle)
