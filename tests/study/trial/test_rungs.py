"""The rungs of a study, and the caution where there is none."""

import pytest

from study.configuration.config import validated
from study.trial.rungs import find_missing_rungs, rungs_of


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
