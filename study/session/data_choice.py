"""Which data a command means that looks at images and needs no study.

The database is imported only where it is needed: data that are given are described without Optuna.
"""

from study.configuration.config import Request, StudyConfig
from study.configuration.stored_settings import completed


def chosen_configuration(request: Request) -> StudyConfig:
    """Return the configuration that says which data, where they are and how they are augmented.

    A preset or a file says it all. Else it is the study of `--name`, where there is one; without
    `--name` and `--data` the only study of the database; and without any of these the defaults.
    What the request sets changes it: nothing is bound to a study here.

    Raises:
        StudyError: If the database has several studies and neither name nor data are given, or
            the folder of the study's data is not there.
        ConfigurationError: If anything is unknown, of the wrong type or out of range.
    """
    if request.names_configuration:
        return request.resolve()
    name = request.location().name
    if name is None and request.gives("data.source"):
        return request.resolve(base={})
    from study.session.location import Location
    from study.session.protocol import reject_missing_folder

    with Location(request.location().storage) as location:
        found = location.find(name)
    if found is None:
        return request.resolve(base={})
    config = request.resolve(base=completed(found.configuration))
    reject_missing_folder(found, config)
    return config
