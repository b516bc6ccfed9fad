"""The importances that optuna-dashboard shows: those of the report.

Its own are of the best tenth of all complete trials, which of ten is a single one. Must not import
torch.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from dashboards.analysis.importances import Importances, read_importances
from dashboards.analysis.search_space import read_space
from dashboards.servers.auth import WsgiApp
from storage.own_study import open_study
from storage.records import find_protocol
from storage.study_storage import StudyStorage

ADDRESS = re.compile(r"/api/studies/(?P<study>[0-9]{1,9})/param_importances/*")


class StudyImportances:
    """Importances of the service's own studies, each found once for a number of trials.

    Args:
        handle: The database.
    """

    def __init__(self, handle: StudyStorage) -> None:
        self._handle = handle
        self._kept: dict[tuple[str, int], str] = {}

    def read(self, study_id: int) -> str | None:
        """Return importances as optuna-dashboard sends them; None for a study that is not ours."""
        known = {one._study_id: one.study_name for one in self._handle.get_all_studies()}
        name = known.get(study_id, "")
        protocol = find_protocol(self._handle.database, name)
        if protocol is None:
            return None
        trials = open_study(self._handle, name).get_trials(deepcopy=False)
        n_complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
        key = (protocol.study_key, n_complete)
        if key not in self._kept:
            is_given = protocol.configuration["search"].get("space") == "given"
            space = read_space(self._handle, name)
            found = read_importances(self._handle, name, space, is_given=is_given)
            kinds = {
                param: kind for trial in trials for param, kind in trial.distributions.items()
            }
            self._kept[key] = _as_json(found, kinds)
        return self._kept[key]


def _as_json(found: Importances, kinds: dict[str, BaseDistribution]) -> str:
    shares = [
        {"name": name, "importance": share, "distribution": type(kinds[name]).__name__}
        for name, share in found.shares.items()
    ]
    return json.dumps({"param_importances": [shares]})


def serve_importances(app: WsgiApp, handle: StudyStorage) -> WsgiApp:
    """Return optuna-dashboard with the report's importances of our own studies.

    Args:
        app: What optuna-dashboard's `wsgi` returned.
        handle: The database.
    """
    importances = StudyImportances(handle)

    def answering(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        found = ADDRESS.fullmatch(environ["PATH_INFO"])
        if found is None or environ["REQUEST_METHOD"] != "GET":
            return app(environ, start)
        text = importances.read(int(found["study"]))
        if text is None:
            return app(environ, start)
        body = text.encode()
        start(
            "200 OK",
            [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
        )
        return [body]

    return answering
