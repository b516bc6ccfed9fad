from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution

from benchmarks.confirmation import Case, simulate, summarise
from benchmarks.recorded_curves import Table

N_RUNS = 400


def table() -> Table:
    """Forty settings in a row, the best in the middle."""
    settings = [{"x": place / 39} for place in range(40)]
    curves = [np.array([50 - 40 * (setting["x"] - 0.5) ** 2]) for setting in settings]
    return Table("made up", {"x": FloatDistribution(0, 1)}, settings, curves, n_steps=1)


def simulated(case: Case) -> Mapping[str, Any]:
    return summarise(case, simulate(case, table(), n_runs=N_RUNS, n_searches=10))


@pytest.mark.parametrize("deviation", [0.3, 1.0])
@pytest.mark.parametrize("image_part", [1.0, 0.5])
def test_equal_settings_are_called_better_as_rarely_as_promised(
    deviation: float, image_part: float
) -> None:
    found = simulated(Case("CPU", 0.0, deviation, image_part))
    assert found["claimed"] <= 0.05 + 2 * (0.05 * 0.95 / N_RUNS) ** 0.5
    assert abs(found["covered"] - 0.9) <= 0.02 + 2 * (0.9 * 0.1 / N_RUNS) ** 0.5
    assert found["best_without"] == found["finds_best"] == 1  # all are


def test_better_settings_are_found_and_called_so_the_more_often_the_less_seeds_vary() -> None:
    found = [simulated(Case("GPU", 1.0, deviation, 0.0)) for deviation in (0.3, 1.0)]
    assert found[0]["claimed"] > 0.8 > found[1]["claimed"] > 0.1
    assert all(abs(one["covered"] - 0.9) <= 0.02 + 0.03 for one in found)
    assert all(one["finds_best"] >= one["best_without"] for one in found)
