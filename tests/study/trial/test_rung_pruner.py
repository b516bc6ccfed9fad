"""The worse half is pruned at each rung, by stored values alone."""

import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.promotion import rung_epochs
from study.configuration.config import Request, validated
from study.errors import ConfigurationError
from study.trial.rung_pruner import RungPruner, find_missing_rungs, rungs_of

RUNG = 2


def judged(values: list[float], own: float) -> bool:
    """Whether a trial with its own value is pruned at the rung that others have passed."""
    study = optuna.create_study(direction="maximize", pruner=RungPruner([RUNG]))
    for value in values:
        reported(study, [0.0, value])
    return reported(study, [0.0, own]).should_prune()


def reported(study: optuna.Study, values: list[float]) -> optuna.Trial:
    trial = study.ask()
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
    return trial


@given(st.lists(st.integers(0, 20), max_size=9), st.integers(0, 20))
def test_pruner_keeps_the_better_half_of_four_or_more(values: list[int], own: int) -> None:
    everybody = sorted([*values, own], reverse=True)
    kept = everybody[: math.ceil(len(everybody) / 2)]
    assert judged([float(value) for value in values], own) == (
        len(everybody) >= 4 and own not in kept
    )


def test_pruner_counts_trials_in_every_state_and_their_best_value_so_far() -> None:
    study = optuna.create_study(direction="maximize", pruner=RungPruner([RUNG]))
    study.tell(reported(study, [0.5, 0.1, 0.9]), 0.9)  # at the rung, 0.5 counts
    study.tell(reported(study, [0.6, 0.1]), state=optuna.trial.TrialState.PRUNED)
    study.tell(reported(study, [0.7, 0.1]), state=optuna.trial.TrialState.FAIL)
    reported(study, [0.8])  # has not come to the rung
    assert not reported(study, [0.0, 0.65]).should_prune()
    assert reported(study, [0.55, 0.0]).should_prune()


def test_pruner_has_no_verdict_between_rungs() -> None:
    study = optuna.create_study(direction="maximize", pruner=RungPruner([RUNG]))
    for _ in range(5):
        reported(study, [1.0, 1.0, 1.0])
    assert not study.ask().should_prune()
    assert not reported(study, [0.0]).should_prune()
    assert not reported(study, [0.0, 0.0, 0.0]).should_prune()


@given(
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4),
    st.integers(1, 200),
    st.floats(0, 20),
)
def test_rungs_lie_after_the_warm_up_and_before_the_end(
    parts: list[float], n_epochs: int, warmup_epochs: float
) -> None:
    epochs = rung_epochs(parts, n_epochs=n_epochs, warmup_epochs=warmup_epochs)
    assert epochs == sorted(set(epochs))
    assert all(warmup_epochs < epoch < n_epochs for epoch in epochs)


def test_rungs_are_the_rounded_parts() -> None:
    assert rung_epochs([0.1, 0.25, 0.5], n_epochs=20, warmup_epochs=0) == [2, 5, 10]
    assert rung_epochs([0.1, 0.25, 0.5], n_epochs=20, warmup_epochs=2.5) == [3, 5, 10]
    assert rung_epochs([0.1, 0.25, 0.5], n_epochs=6, warmup_epochs=0) == [1, 2, 3]


@pytest.mark.parametrize("rungs", ["[]", "[0]", "[1]", "[0.5, 0.25]", "[0.1, 0.1]", "0.5"])
def test_rungs_that_do_not_rise_within_the_schedule_are_rejected(rungs: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^search.rungs"):
        Request(assignments=(f"search.rungs={rungs}",)).resolve()


@pytest.mark.parametrize("pruner", ["rungs", "promotion"])
@pytest.mark.parametrize(
    ("n_epochs", "warmup_epochs", "rungs", "remedy"),
    [
        (20, 1.0, [2, 4, 8], None),
        (20, 18.9, [19], None),
        (3, 1.9, [2], None),
        (20, 19.0, [], "set optimization.warmup_epochs below 19, or a larger search.n_epochs"),
        (3, 2.5, [], "set optimization.warmup_epochs below 2, or a larger search.n_epochs"),
        (1, 0.5, [], ": set a larger search.n_epochs, or search.pruner=none"),
    ],
)
def test_caution_names_the_warm_up_that_leaves_a_rung(
    pruner: str, n_epochs: int, warmup_epochs: float, rungs: list[int], remedy: str | None
) -> None:
    search = {"n_epochs": n_epochs, "pruner": pruner}
    config = validated(
        {"search": search, "optimization": {"warmup_epochs": warmup_epochs}},
    )
    assert rungs_of(config) == rungs
    caution = find_missing_rungs(config)
    if remedy is None:
        assert caution is None
        return
    assert caution is not None and remedy in caution
    assert f"{warmup_epochs:g} of {n_epochs} epochs" in caution and "\n" not in caution


@pytest.mark.parametrize("pruner", ["percentile", "median", "halving", "none"])
def test_other_pruners_have_no_rungs_to_miss(pruner: str) -> None:
    search = {"n_epochs": 3, "pruner": pruner}
    config = validated({"search": search, "optimization": {"warmup_epochs": 2.5}})
    assert rungs_of(config) == [] and find_missing_rungs(config) is None
