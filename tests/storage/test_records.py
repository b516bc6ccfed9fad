from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import StudyNotFoundError
from storage.records import (
    EpochRecord,
    Protocol,
    add_protocol,
    find_protocol,
    fingerprint,
    put_epoch,
    raise_budget,
    read_epochs,
    read_protocol,
    study_names,
)
from storage.study_storage import StudyStorage

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
scores = st.floats(0, 1, allow_nan=False)


def protocol(name: str = "pets", **changes: object) -> Protocol:
    values = {"budget": 3, "configuration": {"seed": 1}, "fingerprint": "f", "facts": {}}
    return Protocol(study_name=name, **(values | changes))  # type: ignore[arg-type]


def test_protocol_is_read_as_it_was_stored(handle: StudyStorage) -> None:
    stored = protocol(facts={"class_names": ["ä", "<b>"]})
    add_protocol(handle.database, stored)
    assert read_protocol(handle.database, "pets") == stored
    raise_budget(handle.database, "pets", 9)
    assert read_protocol(handle.database, "pets").budget == 9
    assert study_names(handle.database) == ["pets"]


def test_read_protocol_of_an_unknown_study_names_the_known(handle: StudyStorage) -> None:
    add_protocol(handle.database, protocol())
    assert find_protocol(handle.database, "cars") is None
    with pytest.raises(StudyNotFoundError, match=r"'cars' \(there: pets\)"):
        read_protocol(handle.database, "cars")


@given(json_values, json_values)
def test_fingerprint_is_equal_for_equal_values_only(one: object, other: object) -> None:
    same = repr(one) == repr(other)
    assert fingerprint({"a": one, "b": 1}) == fingerprint({"b": 1, "a": one})
    assert not same or fingerprint(one) == fingerprint(other)


@given(st.lists(st.tuples(st.integers(1, 5), scores), max_size=12))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_put_epoch_keeps_the_latest_row_of_each_epoch(
    handle: StudyStorage, writes: list[tuple[int, float]]
) -> None:
    with handle.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM epochs")
        for epoch, score in writes:
            put_epoch(connection, 7, EpochRecord(epoch, *(score,) * 12))
    expected = [asdict(EpochRecord(e, *(s,) * 12)) for e, s in sorted(dict(writes).items())]
    assert [asdict(row) for row in read_epochs(handle.database, [7, 8]).get(7, [])] == expected
