"""The slots of a study's queue, and what their trials begin with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from storage.optuna_rows import FIXED_PARAMS, SLOT
from study.configuration.config import StudyConfig
from study.configuration.points import LABEL, given_params
from study.configuration.spaces.nearest import nearest_params
from study.errors import StudyError


@dataclass(frozen=True)
class Point:
    """A slot of the queue with what its trial begins with.

    Attributes:
        params: Optuna parameters given beforehand; what is missing is sampled.
        attributes: More user attributes of the trial.
        state: Of the trial.
    """

    params: Mapping[str, Any]
    attributes: Mapping[str, Any]
    state: TrialState = TrialState.WAITING


SAMPLED = Point({}, {})


def build_points(config: StudyConfig, slots: range) -> list[Point]:
    """Return what the slots of a study's queue begin with.

    Raises:
        StudyError: If the study is one of given points and has not so many.
    """
    if not config.search.points:
        # What a study is about to improve on comes first.
        return [nearest_point(config) if slot == 0 else SAMPLED for slot in slots]
    points = config.search.points
    if slots.stop > len(points):
        raise StudyError(
            f"--trials must stay within the {len(points)} given points of study {config.name!r}, "
            f"got {slots.stop} in all: start a changed study with more search.points"
        )
    params = given_params(config)
    return [
        Point(params[slot], {key: points[slot][key] for key in (LABEL,) if key in points[slot]})
        for slot in slots
    ]


def nearest_point(config: StudyConfig) -> Point:
    """Return the configured values as a point of the space; what lies outside is moved into it."""
    return Point(nearest_params(config), {})


def fill_queue(optuna_study: optuna.Study, points: Sequence[Point], *, first_slot: int) -> None:
    """Add the missing slots; the caller holds the init lock."""
    # Imported trials, and those of other programs, have no slot.
    there = {trial.user_attrs.get(SLOT) for trial in optuna_study.get_trials(deepcopy=False)}
    for slot, point in enumerate(points, start=first_slot):
        if slot not in there:
            given = {FIXED_PARAMS: dict(point.params)} if point.params else {}
            optuna_study.add_trial(
                create_trial(
                    state=point.state,
                    user_attrs={SLOT: slot, **point.attributes},
                    system_attrs=given,
                )
            )
