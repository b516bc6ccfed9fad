"""Trials that run on though the pruner gives them up: which, and what is noted of them."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from data.image_cache import prepare
from model.training import EpochResult
from storage.optuna_rows import AUDITED
from study.configuration.config import StudyConfig, validated
from study.creation.create import initialise
from study.errors import ConfigurationError
from study.session.session import StudySession
from study.stop_signal import StopFlag
from study.trial.pruning_audit import is_audited
from study.workers.worker import Worker

FRACTIONS = st.floats(0, 1, exclude_max=True)
NEARLY_ALL = 0.999


def configured(fraction: float, seed: int = 42) -> StudyConfig:
    config = StudyConfig()
    search = config.search.model_copy(update={"audit_fraction": fraction})
    return config.model_copy(update={"search": search, "seed": seed})


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("seed", [0, 42])
def test_so_large_a_part_of_the_slots_is_audited(fraction: float, seed: int) -> None:
    config, n_slots = configured(fraction, seed), 4_000
    n_audited = sum(is_audited(config, slot) for slot in range(n_slots))
    deviation = (n_slots * fraction * (1 - fraction)) ** 0.5
    assert abs(n_audited - n_slots * fraction) <= 4 * deviation


@given(FRACTIONS, FRACTIONS, st.integers(0, 2**32), st.integers(0, 10**6))
def test_a_larger_fraction_audits_the_same_slots_and_more(
    one: float, other: float, seed: int, slot: int
) -> None:
    few, many = configured(min(one, other), seed), configured(max(one, other), seed)
    assert is_audited(few, slot) <= is_audited(many, slot)
    assert is_audited(few, slot) == is_audited(configured(min(one, other), seed), slot)


def test_seeds_audit_different_slots() -> None:
    chosen = [
        [slot for slot in range(500) if is_audited(configured(0.05, seed), slot)]
        for seed in (1, 2, 3)
    ]
    assert len({tuple(slots) for slots in chosen}) == 3


class StopAfter(StopFlag):
    """A stop that comes after the first epochs of a worker."""

    def __init__(self, n_epochs: int) -> None:
        super().__init__()
        self.left = n_epochs

    @property
    def is_set(self) -> bool:
        return self.left <= 0


def work(session: StudySession, *, n_epochs: int = 99) -> list[int]:
    """Train so many epochs; return which."""
    said: list[int] = []
    stop = StopAfter(n_epochs)

    def announce(_number: int, result: EpochResult) -> None:
        said.append(result.epoch)
        stop.left -= 1

    prepared = prepare(session.config.data)
    Worker(session, prepared, stop=stop, announce=announce).work()
    return said


def outdone(settings: dict[str, Any], pruner: str, **search: object) -> StudySession:
    """Return a study whose first trial has an epoch, and is worse than all others."""
    values = deepcopy(settings)
    values["search"] |= {"budget": {"trials": 4}, "n_epochs": 4, "pruner": pruner, **search}
    session = initialise(validated(values))
    assert work(session, n_epochs=1) == [1]
    handle = session.storage_handle
    for trial in session.optuna_study().trials[1:]:
        handle.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        for epoch in range(1, 5):
            handle.set_trial_intermediate_value(trial._trial_id, epoch, 1.0)
        handle.set_trial_user_attr(trial._trial_id, "best_epoch", 1)
        handle.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [1.0])
    return session


def first(session: StudySession) -> FrozenTrial:
    return session.optuna_study().trials[0]


PRUNERS = [
    ("percentile", {"pruner_percentile": 99.0, "pruner_startup_trials": 1}),
    ("rungs", {"rungs": [0.25, 0.5]}),
]


@pytest.mark.parametrize(("pruner", "search"), PRUNERS)
def test_an_audited_trial_comes_to_its_end_and_says_where_it_was_to_be_cut(
    tiny_settings: dict[str, Any], pruner: str, search: dict[str, object]
) -> None:
    search = {"pruner_warmup_epochs": 1, "audit_fraction": NEARLY_ALL, **search}
    session = outdone(tiny_settings, pruner, **search)
    # Stopped before it asks, and after the epoch that it was to be cut at.
    assert work(session, n_epochs=1) == [2]
    assert first(session).user_attrs[AUDITED] == 1
    assert work(session) == [3, 4]
    trial = first(session)
    assert (trial.state, trial.user_attrs[AUDITED]) == (TrialState.COMPLETE, 1)
    assert trial.value == max(trial.intermediate_values.values())


def test_without_an_audit_the_same_trial_is_cut(tiny_settings: dict[str, Any]) -> None:
    session = outdone(tiny_settings, "rungs", audit_fraction=0.0, rungs=[0.25, 0.5])
    assert work(session) == []
    trial = first(session)
    assert trial.state == TrialState.PRUNED and AUDITED not in trial.user_attrs


def test_an_audited_trial_passes_its_rungs_without_a_pause(tiny_settings: dict[str, Any]) -> None:
    values = deepcopy(tiny_settings)
    values["search"] |= {
        "budget": {"epochs": 8},
        "n_epochs": 4,
        "pruner": "promotion",
        "rungs": [0.25, 0.5],
        "audit_fraction": NEARLY_ALL,
    }
    session = initialise(validated(values))
    assert work(session, n_epochs=1) == [1]
    assert work(session) == [2, 3, 4, 1, 2, 3, 4]
    trials = session.optuna_study().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    # Alone at the first rung, the first trial was to wait for others.
    assert trials[0].user_attrs[AUDITED] == 1


@pytest.mark.parametrize("fraction", [-0.01, 1.0, 1.5])
def test_a_fraction_that_is_no_part_of_the_trials_is_rejected(fraction: float) -> None:
    with pytest.raises(ConfigurationError, match="search.audit_fraction"):
        validated({"search": {"audit_fraction": fraction}})
