"""The page of a study as optuna-dashboard sends it, quick for many trials.

For each trial optuna-dashboard searches the notes and files of all others, twice, and it
serialises finished trials again at every poll: 10,000 trials took 56 s. Here each trial gets its
own notes and files only, the text of a finished trial is cached, and in a large study only a
sample of finished trials has curves. Must not import torch.
"""

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any
from urllib.parse import parse_qs

from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from optuna_dashboard._inmemory_cache import InMemoryCache, get_cached_extra_study_property
from optuna_dashboard._serializer import serialize_frozen_trial, serialize_study_detail

from dashboards.analysis.sampling import sample
from dashboards.servers.auth import WsgiApp
from storage.optuna_rows import METRIC_NAME, SLOT

PAGE = re.compile(r"/api/studies/(?P<study>[0-9]{1,9})/*")
OF_TRIAL = re.compile(r"dashboard:(?:artifacts:)?([0-9]+):")
MOST_CURVES = 600
FASTEST = 1
PREFERENTIAL = "preference:is_preferential"

Attributes = Mapping[str, Any]


class StudyPage:
    """Studies as optuna-dashboard sends them.

    The text of a finished trial is kept until its note or its files change.

    Args:
        storage: Behind Optuna's cache.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self._kept: dict[int, tuple[Attributes, bool, str]] = {}

    def read(self, study_id: int, *, after: int) -> str | None:
        """Return a study as JSON; None where there is none, or one of a kind that is not ours.

        Args:
            study_id: Optuna's row number.
            after: How many of the first trials are left out.
        """
        known = {study._study_id: study for study in self._storage.get_all_studies()}
        study = known.get(study_id)
        if study is None or len(study.directions) > 1 or PREFERENTIAL in study.system_attrs:
            return None
        trials = self._storage.get_all_trials(study_id, deepcopy=False)
        attributes = by_trial(study.system_attrs)
        finished = [trial for trial in trials if trial.state.is_finished()]
        curves = {trial._trial_id for trial in sample(finished, MOST_CURVES, _value)}
        texts = (
            self._text(study_id, trial, attributes.get(trial._trial_id, {}), curves)
            for trial in trials[after:]
        )
        rest = self._without_trials(study, trials)
        return f'{json.dumps(rest)[:-1]}, "trials": [{",".join(texts)}]}}'

    def _without_trials(self, study: FrozenStudy, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Return what a study has beside its trials, found in one trial of each kind."""
        kinds = {_kind(trial): trial for trial in trials}
        found = get_cached_extra_study_property(
            InMemoryCache(), study._study_id, [*kinds.values()]
        )
        complete = any(trial.state == TrialState.COMPLETE for trial in kinds.values())
        best = [self._storage.get_best_trial(study._study_id)] if complete else []
        plots = get_plotly_graph_objects(study.system_attrs)
        rest: dict[str, Any] = serialize_study_detail(study, best, [], *found, plots, [])
        del rest["trials"]
        if any(SLOT in trial.user_attrs for trial in kinds.values()):  # of early versions too
            rest.setdefault("objective_names", [METRIC_NAME])
        return rest

    def _text(self, study_id: int, trial: FrozenTrial, mine: Attributes, curves: set[int]) -> str:
        is_finished = trial.state.is_finished()
        with_curve = not is_finished or trial._trial_id in curves
        kept = self._kept.get(trial._trial_id)
        if is_finished and kept is not None and kept[:2] == (mine, with_curve):
            return kept[2]
        shown = copy(trial)
        shown.intermediate_values = trial.intermediate_values if with_curve else {}
        text = json.dumps(serialize_frozen_trial(study_id, shown, mine))
        if is_finished:
            self._kept[trial._trial_id] = (mine, with_curve, text)
        return text


def _kind(trial: FrozenTrial) -> Hashable:
    """Return equal values for trials of equal state, hyperparameters and attributes."""
    return (
        trial.state,
        tuple((name, id(each)) for name, each in trial.distributions.items()),
        tuple((key, type(value)) for key, value in trial.user_attrs.items()),
        bool(trial.intermediate_values),
    )


def by_trial(attributes: Attributes) -> Mapping[int, Attributes]:
    """Return those attributes of a study that are notes and files of trials, by trial id."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for key, value in attributes.items():
        if (owner := OF_TRIAL.match(key)) is not None:
            found[int(owner[1])][key] = value
    return found


def _value(trial: FrozenTrial) -> float | None:
    return trial.values[0] if trial.values else None


def serve_pages(app: WsgiApp, storage: BaseStorage) -> WsgiApp:
    """Return optuna-dashboard with our answer for the page of a study, compressed.

    Args:
        app: What optuna-dashboard's `wsgi` returned.
        storage: Its studies and trials, behind Optuna's cache.
    """
    pages = StudyPage(storage)

    def answering(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        page = PAGE.fullmatch(environ["PATH_INFO"])
        after = parse_qs(environ.get("QUERY_STRING", "")).get("after", ["0"])[0]
        if page is None or environ["REQUEST_METHOD"] != "GET" or not after.isdecimal():
            return app(environ, start_response)
        text = pages.read(int(page["study"]), after=int(after))
        if text is None:
            return app(environ, start_response)
        body, headers = text.encode(), [("Content-Type", "application/json")]
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            body = gzip.compress(body, FASTEST)
            headers.append(("Content-Encoding", "gzip"))
        start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    return answering
