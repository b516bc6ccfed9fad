"""The hparams of a trial: its row in the HPARAMS tab of TensorBoard, and how others may differ."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from dashboards.tensorboard.hparams import HParam, HParamValue
from study.configuration.config import StudyConfig
from study.configuration.dotted_keys import value_at
from study.configuration.points import LABEL, given_keys, given_params
from study.configuration.search_space import SHORT, Range, Searched, as_choice, read_searched
from study.configuration.spaces.completion import NAMED_SPACES
from study.configuration.spaces.settings import PER_STAGE

MOST_CHOICES = 512
"""Those of three stages of 1 to 8 blocks."""


def build_hparams(config: StudyConfig, trial: StudyConfig, label: str | None) -> dict[str, HParam]:
    """Return the hparams of a trial.

    Args:
        config: Of the study, with its space or its given points.
        trial: Of the trial, whether its settings were sampled, given or configured.
        label: Of its point, where it has one.
    """
    searched = read_searched(config.search)
    always = NAMED_SPACES["joint"]
    keys = dict.fromkeys((*always, *(one.setting for one in searched), *given_keys(config)))
    choices = _choices(config, searched)
    varied = {one.setting for one in searched if _varies(one)}
    hparams: dict[str, HParam] = {}
    for key in keys:
        for name, value in _named(config, key, value_at(trial, key), searched).items():
            known = choices.get(key, ())
            hparams[name] = HParam(
                _as_hparam(value),
                differs=key in varied or len(known) > 1,
                choices=tuple(known),
            )
    if label is not None:
        labels = dict.fromkeys(
            str(point[LABEL]) for point in config.search.points if LABEL in point
        )
        hparams[LABEL] = HParam(label, differs=len(labels) > 1, choices=tuple(labels))
    return hparams


def row_name(study_name: str, number: int, label: str | None, *, kind: str = "") -> str:
    """Return the name of a row, unlike any other below one folder of runs."""
    # TensorBoard sorts rows as texts.
    words = (kind, f"{number:03}") if kind else (f"{number:03}", label)
    return " ".join(word for word in (*words, f"({study_name})") if word)


def _named(
    config: StudyConfig, key: str, value: Any, searched: Sequence[Searched]
) -> Mapping[str, Any]:
    """Return a value by the name of its column; too many blocks by each stage."""
    short = config.search.param_names == SHORT
    name = key.rpartition(".")[2] if short else key
    if key == PER_STAGE and _varies_much(config, searched):
        joint = "_" if short else "."
        return {f"{name}{joint}{stage}": count for stage, count in enumerate(value, start=1)}
    return {name: value}


def _as_hparam(value: Any) -> HParamValue:
    choice = as_choice(value)
    return "none" if choice is None else choice


def _choices(
    config: StudyConfig, searched: Sequence[Searched]
) -> dict[str, dict[HParamValue, None]]:
    """Return the values that can be counted of each setting, in their order."""
    choices: dict[str, dict[HParamValue, None]] = {}
    for params in given_params(config):
        for key, value in params.items():
            choices.setdefault(key, {})[_as_hparam(value)] = None
    for one in searched:
        found = choices.setdefault(one.setting, {})
        if not isinstance(one.within, Range):
            found |= dict.fromkeys(map(_as_hparam, one.within))
        elif one.setting == PER_STAGE:
            depths = range(int(one.within.low), int(one.within.high) + 1)
            much = _varies_much(config, searched)
            each = depths if much else product(depths, repeat=len(config.network.widths))
            found |= dict.fromkeys(map(_as_hparam, each))
    return {key: found for key, found in choices.items() if found}


def _varies(one: Searched) -> bool:
    """Return whether a searched setting may have two values."""
    if one.when:
        return True
    return (
        one.within.low < one.within.high
        if isinstance(one.within, Range)
        else (len(one.within) > 1)
    )


def _varies_much(config: StudyConfig, searched: Sequence[Searched]) -> bool:
    """Return whether sampled blocks are too many texts to choose from: then each is a number."""
    n_texts = 0
    for one in searched:
        if one.setting == PER_STAGE and isinstance(one.within, Range):
            n_depths = int(one.within.high - one.within.low) + 1
            n_texts += int(n_depths ** len(config.network.widths))
    return n_texts > MOST_CHOICES
