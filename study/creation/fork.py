"""A changed study that starts from another one.

It has the other's configuration, but for what is given, and a queue of its own. Where each trial
of the other would be the very same experiment in it, because only the space, the budget, the
sampler or the pruner differ, it also begins with the other's finished trials.
"""

import functools
import logging
import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from optuna.trial import TrialState

from data.image_cache import PreparedData
from data.split_writer import Track, no_progress
from storage.own_study import own_trials
from storage.records import Protocol, read_protocol
from storage.study_names import follows_a_search
from storage.study_storage import StudyStorage
from study.configuration.config import Request, StudyConfig, validated
from study.configuration.stored_settings import completed, frozen_part, missing_settings
from study.creation.create import initialise
from study.creation.warm_start import WarmStart, other_experiment, select_importable
from study.errors import ProtocolError, StudyError
from study.session.location import Location
from study.session.protocol import (
    Difference,
    code_differences,
    completed_by,
    differences,
    resolve_source,
)
from study.session.session import StudySession

logger = logging.getLogger(__name__)

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Ancestry:
    """Where a fork comes from; stored among the facts of its protocol.

    Attributes:
        study: Name of the study that was forked.
        study_key: Its key, for names may be given again.
        changes: Settings that differ, each with `key`, `old` and `new`.
        taken_over: Number of finished trials that the fork began with.
        left_out: Number of finished trials that do not fit its space.
        why_nothing: Why no trial was imported; None where they were compared.
    """

    study: str
    study_key: str
    changes: Sequence[Mapping[str, Any]]
    taken_over: int
    left_out: int
    why_nothing: str | None

    @classmethod
    def of(cls, protocol: Protocol) -> "Ancestry | None":
        """Return the ancestry of a study, None where it is no fork."""
        return cls(**protocol.forked_from) if protocol.forked_from else None

    def lines(self) -> list[str]:
        """Return the changes of a fork, and how many trials it imported."""
        changes = [f"  {one['key']}: {one['old']!r} -> {one['new']!r}" for one in self.changes]
        title = f"forked from {self.study}" + (", changed:" if changes else ", unchanged")
        return [title, *changes, self._trials()]

    def _trials(self) -> str:
        n_finished = self.taken_over + self.left_out
        if self.why_nothing is not None:
            return f"none of {n_finished} finished trials are imported: {self.why_nothing}"
        rest = f"; {self.left_out} outside the new space" if self.left_out else ""
        return f"{self.taken_over} of {n_finished} finished trials are imported{rest}"


def fork(
    request: Request,
    new_name: str,
    *,
    location: Location | None = None,
    track: Track = no_progress,
) -> tuple[StudySession, Ancestry]:
    """Start a changed study; one that was forked before by the same request stays as it is.

    Args:
        request: Names the study to start from, its place, and what changes.
        new_name: Name of the new study, in the same database.
        location: Where both are; default that of the request.
        track: Shows the progress of the decoding.

    Returns:
        The new study, and where it comes from.

    Raises:
        StudyError: If the names do not suit.
        StudyNotFoundError: If there is no study to start from.
        ProtocolError: If the new study exists and is another one.
        DataError: If the data cannot be used.
        StorageError: If the database or the runs folder is rejected.
    """
    location = location or Location(request.location().storage)
    origin = _read_origin(location, request.location().name, new_name)
    config = _forked_config(request, origin, new_name)

    def read_warm_start(handle: StudyStorage, prepared: PreparedData) -> WarmStart:
        return _read_warm_start(handle, origin, config, prepared.fingerprint)

    # The fork may exist and have been extended.
    gives_budget = request.gives("search.budget")
    session = initialise(
        config,
        location=location,
        gives_budget=gives_budget,
        read_warm_start=read_warm_start,
        track=track,
    )
    ancestry = Ancestry.of(session.protocol)
    if ancestry is None or ancestry.study_key != origin.study_key:
        raise ProtocolError(
            f"NEW must be free or a fork of {origin.study_name!r}, study {new_name!r} is neither: "
            "choose another name"
        )
    return session, ancestry


def _read_origin(location: Location, name: str | None, new_name: str) -> Protocol:
    name = name or location.only_study(besides=new_name)
    if name == new_name or follows_a_search(name):
        raise StudyError(
            f"--name must be a searched study, and NEW another name, got {name!r} and "
            f"{new_name!r}: `study fork NEW --name OLD`"
        )
    origin = read_protocol(location.open().database, name)
    location.reject_deleted(origin)
    return origin


def _forked_config(request: Request, origin: Protocol, new_name: str) -> StudyConfig:
    renamed = replace(request, options={**request.options, "name": new_name})
    config = completed_by(renamed.resolve(base=completed(origin.configuration)), origin, request)
    # A study of an earlier version has other names of parameters, which the warm start translates.
    names = {"search.param_names": "dotted"}
    return config.replacing({"data.source": resolve_source(config.data.source)} | names)


def _read_warm_start(
    handle: StudyStorage, origin: Protocol, new: StudyConfig, fingerprint: str
) -> WarmStart:
    old = validated(completed(origin.configuration))
    ids = {study.study_name: study._study_id for study in handle.get_all_studies()}
    found = own_trials(handle.get_all_trials(ids[origin.study_name]))
    trials = [trial for trial in found if trial.state in FINISHED]
    why_nothing = _why_nothing(origin, old, new, fingerprint)
    rows = {} if why_nothing else select_importable(trials, origin, new)
    if rows and (code := code_differences(origin)):
        shown = "; ".join(map(str, code))
        logger.warning("trials of another code version are imported: %s", shown)
    ancestry = Ancestry(
        study=origin.study_name,
        study_key=origin.study_key,
        changes=[asdict(one) for one in _changes(origin, old, new, fingerprint)],
        taken_over=len(rows),
        left_out=len(trials) - len(rows),
        why_nothing=why_nothing,
    )
    return WarmStart(rows, {"forked_from": asdict(ancestry)})


def _why_nothing(
    origin: Protocol, old: StudyConfig, new: StudyConfig, fingerprint: str
) -> str | None:
    if old.search.points or new.search.points:
        return "given points share one seed and are all trained in their own study"
    keys = [one.key for one in other_experiment(old, new)]
    explained = any(key.startswith("data.") for key in keys)
    keys += missing_settings(origin.configuration)
    if fingerprint != origin.data_fingerprint and not explained:
        keys.append("the data")
    if keys:
        return f"they would be other experiments, for {', '.join(keys)} differ"
    code = "; ".join(map(str, code_differences(origin)))
    if code and new.protocol.strict:
        return f"protocol.strict is set, and the code version is another: {code}"
    return None


def _changes(
    origin: Protocol, old: StudyConfig, new: StudyConfig, fingerprint: str
) -> list[Difference]:
    """Return what makes the new study another one: frozen settings, budget, final run, data."""

    def shown(config: StudyConfig) -> dict[str, Any]:
        settings = frozen_part(config)
        settings["search"]["budget"] = str(config.search.budget)
        del settings["search"]["param_names"]
        settings["data"]["source"] = config.data.source
        return settings | {"final": config.final.model_dump(mode="json")}

    settings = shown(new)
    added = {
        key: functools.reduce(operator.getitem, key.split("."), settings)
        for key in missing_settings(origin.configuration)
    }
    changed = [one for one in differences(shown(old), settings) if one.key not in added]
    changed += [Difference(key, "no such setting", value) for key, value in added.items()]
    there, here = origin.data_fingerprint, fingerprint
    data = [Difference("data fingerprint", there[:12], here[:12])] if there != here else []
    return changed + data
