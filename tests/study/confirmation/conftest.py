from typing import Any

import pytest

from study.creation.create import initialise
from study.session.session import StudySession
from study.stop_signal import StopFlag
from study.workers.worker import Worker
from tests.study.searches import configured, pretend_to_search

Settings = dict[str, Any]
PLAN = {"confirm.candidates": 2, "confirm.verdict_seeds": 2, "confirm.alpha": 0.4}
CURVES = [[0.2, 0.5, 0.4], [0.3, 0.6, 0.9], [0.1, 0.2, 0.3]]


@pytest.fixture
def searched(tiny_settings: Settings) -> StudySession:
    session = initialise(configured(tiny_settings, PLAN))
    pretend_to_search(session, CURVES)
    return session


@pytest.fixture
def cut_default(tiny_settings: Settings) -> StudySession:
    """A search that pruned the configured values, which are no candidate then."""
    session = initialise(configured(tiny_settings, PLAN))
    pretend_to_search(session, [[0.2, 0.1], *CURVES[:2]])
    return session


def work(queued: StudySession) -> None:
    prepared = queued.prepare_data()
    Worker(queued, prepared, stop=StopFlag(), announce=lambda *_: None).work()
