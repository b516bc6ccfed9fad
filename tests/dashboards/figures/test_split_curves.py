"""The curves of one run, and where their axis ends."""

import math

import pytest

from dashboards.figures.split_curves import clear_top, split_curves_figure


@pytest.mark.parametrize("start", [40.0, 1e9, math.inf, math.nan])
def test_loss_axis_survives_an_outlier_of_the_first_epoch(start: float) -> None:
    later = [2.0, 1.5, 1.2, 1.1, 1.0]
    top = clear_top([start, *later], [2.1, *later])
    assert top is not None and 2.1 <= top < 3
    axes = split_curves_figure([start, *later], [2.1, *later], top=top).axes[0]
    assert axes.get_ylim()[1] == pytest.approx(top)


def test_loss_axis_shows_all_of_an_even_curve() -> None:
    assert clear_top([3.0, 2.0, 1.5, 1.2, 1.1, 1.0], [2.5, 2.0, 1.5, 1.2, 1.1, 1.0]) is None
    assert clear_top([40.0, 1.0], [1.0, 1.0]) is None, "too few epochs to tell"
    assert clear_top([], []) is None
