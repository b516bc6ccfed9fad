"""The settings that a confirmation trains again: the best distinct trials, and the control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.configuration import MOST_STAGES
from model.cost import count_multiply_accumulates
from storage.trial_rows import TrialRow, by_value, read_trials
from study.configuration.config import StudyConfig
from study.configuration.fixed_trial import FixedTrial
from study.configuration.points import configured_by, unseeded
from study.configuration.search_space import Range, read_searched
from study.configuration.spaces.nearest import nearest_params
from study.session.session import StudySession

NEAR = 0.05
"""Part of every range within which two trials are one candidate; choices must be equal."""


@dataclass(frozen=True)
class Setting:
    """A setting that is trained with fresh seeds.

    Attributes:
        params: Optuna's parameters.
        trial: Number of the searched trial; None where the control is none.
        search_score: Its best validation macro-F1; None where it has none.
        cost: Multiply-accumulates of its network for one image.
    """

    params: Mapping[str, Any]
    trial: int | None
    search_score: float | None
    cost: int


def find_candidates(session: StudySession) -> list[Setting]:
    """Return the best distinct complete trials of a search, the best first."""
    n_candidates = session.config.confirm.candidates
    rows = read_trials(session.storage_handle, session.protocol.study_name)
    complete = [row for row in rows if row.state == "complete" and row.value is not None]
    return [
        _setting(session, row)
        for row in distinct(by_value(complete), session.config, most=n_candidates)
    ]


def distinct(rows: Sequence[TrialRow], config: StudyConfig, *, most: int) -> list[TrialRow]:
    """Return the first trials none of which lies near an earlier one.

    Args:
        rows: The best first.
        config: Of the study, with its ranges.
        most: How many at most.
    """
    found: list[TrialRow] = []
    for row in rows:
        if len(found) == most:
            break
        if all(distance(row.params, one.params, config) > NEAR for one in found):
            found.append(row)
    return found


def distance(one: Mapping[str, Any], other: Mapping[str, Any], config: StudyConfig) -> float:
    """Return how far two points of a space are apart, in their most different parameter.

    Args:
        one: Parameters by Optuna's name.
        other: Likewise.
        config: Of the study.

    Returns:
        A part of the parameter's range, as the sampler sees it; 1 where a choice differs, or one
        of them has another parameter. Seeds do not count.
    """
    keys = unseeded(one).keys() | unseeded(other).keys()
    if any(key not in one or key not in other for key in keys):
        return 1.0
    ranges = {
        name: searched.within
        for searched in read_searched(config.search)
        if isinstance(searched.within, Range)
        for name in searched.names(MOST_STAGES)
    }
    parts = [
        ranges[key].part_between(one[key], other[key])
        if key in ranges
        else float(one[key] != other[key])
        for key in keys
    ]
    return max(parts, default=0.0)


def is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two points of a space are one setting; seeds do not count."""
    return unseeded(one) == unseeded(other)


def find_control(session: StudySession) -> Setting:
    """Return the configured values; where points are given, the first of them.

    They are the study's first trial, save in studies of early versions.
    """
    rows = read_trials(session.storage_handle, session.protocol.study_name)
    if session.config.search.points:
        return _setting(session, next(row for row in rows if row.slot == 0))
    params = nearest_params(session.config)
    for row in rows:
        if row.params == params:
            return _setting(session, row)
    return Setting(params, None, None, _cost(session, params))


def _setting(session: StudySession, row: TrialRow) -> Setting:
    return Setting(row.params, row.number, row.value, _cost(session, row.params))


def _cost(session: StudySession, params: Mapping[str, Any]) -> int:
    config, _ = configured_by(FixedTrial(params), session.config)
    return count_multiply_accumulates(
        config.network, n_classes=session.protocol.n_classes, image_size=config.data.image_size
    )
