from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from storage.errors import StudyNotFoundError
from study.creation.create import initialise
from study.session.location import Location
from tests.study.conftest import Call
from tests.study.searches import configured, pretend_to_search

Settings = dict[str, Any]


@pytest.fixture
def opened() -> Iterator[set[sqlalchemy.Engine]]:
    """The engines that connect; a look whether there are tables at all keeps no connection."""
    engines: set[sqlalchemy.Engine] = set()

    def note(connection: sqlalchemy.Connection) -> None:
        if not isinstance(connection.engine.pool, NullPool):
            engines.add(connection.engine)

    sqlalchemy.event.listen(sqlalchemy.Engine, "engine_connect", note)
    yield engines
    sqlalchemy.event.remove(sqlalchemy.Engine, "engine_connect", note)


@pytest.mark.parametrize("command", ["run", "init"])
@pytest.mark.parametrize("names_file", [True, False])
def test_run_of_an_existing_study_opens_the_database_once(
    tiny_settings: Settings,
    config_file: str,
    call: Call,
    opened: set[sqlalchemy.Engine],
    command: str,
    names_file: bool,
) -> None:
    session = initialise(configured(tiny_settings, {"search.n_epochs": 3}))
    pretend_to_search(session, [[0.1, 0.2, 0.3]] * 3)
    opened.clear()
    place = session.config.storage
    where = ["--storage", place.url, "--runs", str(place.runs), "--name", "tiny"]
    ended = call(command, *(["--config", config_file] if names_file else where))
    assert ended.code == 0, ended.err
    assert len(opened) == 1


def test_new_study_opens_the_database_once(
    tiny_settings: Settings, config_file: str, call: Call, opened: set[sqlalchemy.Engine]
) -> None:
    assert call("init", "--config", config_file).code == 0
    assert len(opened) == 1


def test_closed_location_opens_again(tiny_settings: Settings) -> None:
    session = initialise(configured(tiny_settings, {}))
    with Location(session.config.storage) as location:
        first = location.open()
        assert location.open() is first
    assert location.find("tiny") == session.protocol
    assert location.find() == session.protocol
    assert location.find("other") is None
    location.close()


def test_missing_database_is_found_without_a_study_and_created_when_needed(
    tiny_settings: Settings,
) -> None:
    with Location(configured(tiny_settings, {}).storage) as location:
        assert location.find("tiny") is None
        with pytest.raises(StudyNotFoundError):
            location.open()
        assert location.create() is location.open()
