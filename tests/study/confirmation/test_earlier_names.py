"""A search of an earlier version that is named as a confirmation would be."""

from dataclasses import replace
from typing import Any

import pytest

from dashboards.analysis.confirmation.reading import read_confirmation
from storage.records import add_protocol, read_protocol, study_names
from storage.tables import protocols
from study.confirmation.confirmation import open_confirmation
from study.creation.create import initialise
from study.errors import ProtocolError
from study.session.deletion import plan_deletion
from study.session.session import StudySession

NAME = "tiny-confirm"


@pytest.fixture
def beside_earlier(searched: StudySession) -> StudySession:
    """A searched study, and beside it a search of an earlier version with such a name."""
    config = searched.config
    earlier = initialise(config, location=searched.location, name=NAME)
    database = searched.storage_handle.database
    protocol = read_protocol(database, NAME)
    renamed: dict[str, Any] = {**protocol.configuration, "name": NAME}
    database.write(
        lambda connection: connection.execute(
            protocols.delete().where(protocols.c.study_name == NAME)
        )
    )
    add_protocol(database, replace(earlier.protocol, configuration=renamed))
    return searched


def test_it_is_no_confirmation(beside_earlier: StudySession) -> None:
    assert read_confirmation(beside_earlier.storage_handle, "tiny") is None
    with pytest.raises(ProtocolError, match="must be free for the confirmation"):
        open_confirmation(beside_earlier)


def test_it_is_not_deleted_with_the_other(beside_earlier: StudySession) -> None:
    plan_deletion(beside_earlier.location, "tiny").execute()
    assert study_names(beside_earlier.storage_handle.database) == [NAME]
    trials = beside_earlier.storage_handle.get_all_studies()
    assert [one.study_name for one in trials] == [NAME]
