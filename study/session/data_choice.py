"""Which data a command means that looks at images and needs no study.

The database is imported only where it is asked: data that are given are described without Optuna.
"""

from collections.abc import Mapping
from typing import Any

from storage.errors import StudyNotFoundError
from study.configuration.config import Request, StudyConfig
from study.configuration.stored_settings import completed


def chosen_configuration(request: Request) -> StudyConfig:
    """Return the configuration that says which data, where they are and how they are augmented.

    A preset or a file says it all. Else it is the study of `--name`, where there is one; without
    `--name` and `--data` the only study of the database; and without any of these the defaults.
    What the request sets changes it: nothing is bound to a study here.

    Raises:
        StudyError: If the database has several studies and neither name nor data are given.
        ConfigurationError: If anything is unknown, of the wrong type or out of range.
    """
    if request.names_configuration:
        return request.resolve()
    name = request.place().name
    if name is None and request.gives("data.source"):
        return request.resolve(base={})
    return request.resolve(base=_fixed_by_a_study(request, name))


def _fixed_by_a_study(request: Request, name: str | None) -> Mapping[str, Any]:
    from storage.records import find_protocol
    from storage.study_storage import open_study_storage
    from study.session.session import only_study

    place = request.place().storage
    try:
        handle = open_study_storage(place.url, outage_seconds=place.outage_seconds)
    except StudyNotFoundError:
        return {}
    try:
        protocol = find_protocol(handle.database, name or only_study(handle))
    except StudyNotFoundError:
        return {}
    finally:
        handle.engine.dispose()
    return completed(protocol.configuration) if protocol else {}
