"""Lets optuna-dashboard delete a study together with the service's own rows.

Must not import torch.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from optuna.storages import BaseStorage

from dashboards.servers.auth import WsgiApp, reject
from storage.errors import StorageError
from storage.study_deletion import delete_whole_study
from storage.study_storage import StudyStorage

STUDY = re.compile(r"/api/studies/([0-9]{1,9})/*")


def delete_whole(
    app: WsgiApp, handle: StudyStorage, cached: BaseStorage, *, grace: float
) -> WsgiApp:
    """Return optuna-dashboard that deletes a study with all its rows, if no worker is active.

    Args:
        app: What optuna-dashboard's `wsgi` returned.
        handle: The database.
        cached: The same behind the cache that the application reads.
        grace: Age of a worker's heartbeat, in seconds, after which it is stale.
    """

    def deleting(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        found = STUDY.fullmatch(environ["PATH_INFO"])
        if found is None or environ["REQUEST_METHOD"] != "DELETE" or handle.read_only:
            return app(environ, start)
        study_id = int(found[1])
        known = {study._study_id for study in handle.get_all_studies()}
        if study_id not in known:
            return reject(environ, start, "404 Not Found", f"there is no study {study_id}")
        try:
            deleted = delete_whole_study(handle, study_id, grace=grace)
        except StorageError as error:
            return reject(environ, start, "409 Conflict", str(error))
        for each in deleted:
            with suppress(KeyError):  # the rows are gone; the cache forgets them too
                cached.delete_study(each)
        start("204 No Content", [("Content-Length", "0")])
        return []

    return deleting
