"""The hparams of a trial: its row in the HPARAMS tab of TensorBoard, and how others may differ."""

from collections.abc import Container, Mapping
from itertools import product
from typing import Any

from dashboards.tensorboard.hparams import HParam, HParamValue
from study.configuration.config import StudyConfig
from study.configuration.points import LABEL, as_choice, given_params
from study.configuration.search_space import SPACES, Hyperparameters, stage_names

MOST_CHOICES = 512
"""Those of three stages of 1 to 8 blocks."""


def build_hparams(
    config: StudyConfig,
    hyperparameters: Hyperparameters,
    settings: Mapping[str, Any],
    label: str | None,
) -> dict[str, HParam]:
    """Return the hparams of a trial.

    Args:
        config: Of the study, with its given points.
        hyperparameters: Of the trial, whether sampled, given or configured.
        settings: Of its point, where points are given.
        label: Of its point, where it has one.
    """
    trial = hyperparameters.as_params() if _varies_much(config) else hyperparameters.as_dict()
    trial |= {_short(key, trial): value for key, value in settings.items()}
    choices = _choices(config, hyperparameters.as_dict())
    varied = _varied(config)
    hparams = {
        key: HParam(
            _as_hparam(value),
            differs=key in varied or len(choices.get(key, ())) > 1,
            choices=tuple(choices.get(key, ())),
        )
        for key, value in trial.items()
    }
    if label is not None:
        labels = dict.fromkeys(
            str(point[LABEL]) for point in config.search.points if LABEL in point
        )
        hparams[LABEL] = HParam(label, differs=len(labels) > 1, choices=tuple(labels))
    return hparams


def row_name(study_name: str, number: int, label: str | None, *, is_final: bool) -> str:
    """Return the name of a row, unlike any other below one folder of runs."""
    # TensorBoard sorts rows as texts.
    words = ("final", f"{number:03}") if is_final else (f"{number:03}", label)
    return " ".join(word for word in (*words, f"({study_name})") if word)


def _short(key: str, names: Container[str]) -> str:
    last = key.rpartition(".")[2]
    return last if last in names else key


def _as_hparam(value: Any) -> HParamValue:
    choice = as_choice(value)
    return "none" if choice is None else choice


def _choices(config: StudyConfig, names: Container[str]) -> dict[str, dict[HParamValue, None]]:
    """Return the distinct values of each given setting and of sampled blocks, in their order."""
    choices: dict[str, dict[HParamValue, None]] = {}
    for params in given_params(config):
        for key, value in params.items():
            choices.setdefault(_short(key, names), {})[_as_hparam(value)] = None
    if "blocks" in SPACES[config.search.space]:
        stages, depths = stage_names(len(config.network.widths)), _depths(config)
        if _varies_much(config):
            choices |= {stage: dict.fromkeys(depths) for stage in stages}
        else:
            each = product(depths, repeat=len(stages))
            choices["blocks"] = dict.fromkeys(map(_as_hparam, each))
    return choices


def _varied(config: StudyConfig) -> set[str]:
    """Return the searched hyperparameters whose range has more than one value."""
    ranges = config.search.ranges
    within = {name: getattr(ranges, name) for name in SPACES[config.search.space]}
    return {name for name, one in within.items() if one is None or one.low < one.high}


def _depths(config: StudyConfig) -> range:
    within = config.search.ranges.blocks
    return range(within.low, within.high + 1)


def _varies_much(config: StudyConfig) -> bool:
    """Return whether sampled blocks are too many texts to choose from: then each is a number."""
    n_texts = len(_depths(config)) ** len(config.network.widths)
    return "blocks" in SPACES[config.search.space] and n_texts > MOST_CHOICES
