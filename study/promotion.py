"""Which trial wins a search, and why."""

from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from study.errors import StudyError
from study.session import StudySession


@dataclass(frozen=True)
class Winner:
    """The trial that is trained for long.

    Attributes:
        number: Its number.
        value: Its best validation macro-F1.
        params: Its Optuna parameters.
    """

    number: int
    value: float
    params: dict[str, Any]


def choose_winner(session: StudySession) -> Winner:
    """Return the complete trial with the highest validation macro-F1, the earliest of equals.

    Raises:
        StudyError: If the search is not over, or has no complete trial.
    """
    trials = session.optuna_study().get_trials(deepcopy=False)
    name = session.protocol.study_name
    unfinished = sum(not trial.state.is_finished() for trial in trials)
    if unfinished:
        raise StudyError(
            f"study {name!r} must be over before its final run, {unfinished} of {len(trials)} "
            f"trials are not: finish them with `study run --name {name}`"
        )
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        raise StudyError(
            f"study {name!r} must have a complete trial, it has none of {len(trials)}: "
            f"see the reasons with `study trials --name {name}`"
        )
    best = max(complete, key=_value_then_age)
    return Winner(best.number, _value_then_age(best)[0], dict(best.params))


def _value_then_age(trial: FrozenTrial) -> tuple[float, int]:
    if trial.value is None:
        raise RuntimeError(f"complete trial {trial.number} has no value")
    return trial.value, -trial.number
