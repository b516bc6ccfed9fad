"""What a trial's row in TensorBoard's HPARAMS tab says: its values, and how the others differ."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from dashboards.tensorboard.hparams import Hyperparameter, HyperparameterValue
from study.configuration.config import StudyConfig
from study.configuration.points import LABEL, as_choice, given_params
from study.configuration.search_space import SPACES, Hyperparameters


def shown_hyperparameters(
    config: StudyConfig,
    hyperparameters: Hyperparameters,
    settings: Mapping[str, Any],
    label: str | None,
) -> dict[str, Hyperparameter]:
    """Return the columns of a trial.

    Args:
        config: Of the study, with the points that it was given.
        hyperparameters: Of the trial, whether drawn, given or configured.
        settings: Of its point, where points are given.
        label: Of its point, where it has one.
    """
    drawn = hyperparameters.as_dict()
    given = {_short(key, drawn): value for key, value in settings.items()}
    choices = _choices(config, drawn)
    shown = {
        key: Hyperparameter(
            _as_shown(value),
            differs=key in SPACES[config.search.space] or len(choices.get(key, ())) > 1,
            choices=tuple(choices.get(key, ())),
        )
        for key, value in (drawn | given).items()
    }
    if label is not None:
        labels = dict.fromkeys(
            str(point[LABEL]) for point in config.search.points if LABEL in point
        )
        shown[LABEL] = Hyperparameter(label, differs=len(labels) > 1, choices=tuple(labels))
    return shown


def row_name(study_name: str, number: int, label: str | None, *, is_final: bool) -> str:
    """Return the name of a row, unlike any other below one folder of runs."""
    # TensorBoard sorts rows as texts.
    words = ("final", f"{number:03}") if is_final else (f"{number:03}", label)
    return " ".join(word for word in (*words, f"({study_name})") if word)


def _short(key: str, drawn: Mapping[str, Any]) -> str:
    last = key.rpartition(".")[2]
    return last if last in drawn else key


def _as_shown(value: Any) -> HyperparameterValue:
    choice = as_choice(value)
    return "none" if choice is None else choice


def _choices(
    config: StudyConfig, drawn: Mapping[str, Any]
) -> dict[str, dict[HyperparameterValue, None]]:
    """Return the distinct values of each given setting and of drawn blocks, in their order."""
    choices: dict[str, dict[HyperparameterValue, None]] = {}
    for params in given_params(config):
        for key, value in params.items():
            choices.setdefault(_short(key, drawn), {})[_as_shown(value)] = None
    if "blocks" in SPACES[config.search.space]:
        depths = range(config.search.ranges.blocks.low, config.search.ranges.blocks.high + 1)
        choices["blocks"] = dict.fromkeys(map(_as_shown, product(depths, repeat=3)))
    return choices
