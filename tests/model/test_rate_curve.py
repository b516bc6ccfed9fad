import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.rate_curve import RateCurve, has_diverged, smooth

N_STEPS = 200
LAG_STEPS = 14  # the average of the last ten or so steps comes late

finite = st.floats(0.01, 100)


def curve_of(losses: np.ndarray, *, low: float = 1e-5, high: float = 10) -> RateCurve:
    rates = np.geomspace(low, high, len(losses))
    return RateCurve(tuple(rates.tolist()), tuple(losses.tolist()), None)


def falling_at(step: int, *, start: float, fall: float, width: float) -> np.ndarray:
    """A loss that falls along an S, half of it at one step, and climbs at the end."""
    steps = np.arange(N_STEPS)
    losses: np.ndarray = start - fall / (1 + np.exp(-(steps - step) / width))
    losses += np.exp(np.minimum((steps - 190) / 3, 5))
    return losses


@given(st.lists(finite, min_size=1, max_size=50), st.floats(0, 0.99))
def test_smoothed_losses_lie_among_those_so_far(losses: list[float], smoothing: float) -> None:
    for step, value in enumerate(smooth(losses, smoothing=smoothing), start=1):
        seen = losses[:step]
        assert min(seen) * (1 - 1e-9) <= value <= max(seen) * (1 + 1e-9)


@given(finite, st.integers(1, 50))
def test_smoothing_leaves_a_constant_as_it_is(loss: float, n_steps: int) -> None:
    assert smooth([loss] * n_steps) == pytest.approx([loss] * n_steps)


def test_smoothing_weighs_the_past_as_it_says() -> None:
    assert smooth([1.0, 3.0], smoothing=0.5) == pytest.approx([1.0, (0.25 + 1.5) / 0.75])


@given(
    step=st.integers(40, 140),
    start=st.floats(1, 6),
    fall=st.floats(0.1, 0.9),
    width=st.floats(2, 8),
)
def test_steepest_and_suggested_rate_lie_where_an_s_falls(
    step: int, start: float, fall: float, width: float
) -> None:
    curve = curve_of(falling_at(step, start=start, fall=fall * start, width=width))
    for rate in (curve.steepest_rate, curve.suggested_rate):
        assert rate is not None
        assert step - 2 <= curve.rates.index(rate) <= step + LAG_STEPS


@given(scale=st.floats(0.1, 10), shift=st.floats(-3, 3))
def test_suggestion_follows_the_rates_and_ignores_the_scale_of_the_loss(
    scale: float, shift: float
) -> None:
    losses = falling_at(90, start=4, fall=2, width=5)
    plain = curve_of(losses)
    moved = curve_of(losses * scale, low=1e-5 * 10**shift, high=10 * 10**shift)
    assert plain.suggested_rate is not None and moved.suggested_rate is not None
    assert moved.suggested_rate == pytest.approx(plain.suggested_rate * 10**shift)


@pytest.mark.parametrize("losses", [[2.3] * 30, [2.3 + 0.01 * step for step in range(30)], []])
def test_loss_that_never_falls_suggests_nothing(losses: list[float]) -> None:
    curve = curve_of(np.array(losses))
    assert curve.suggested_rate is None and curve.steepest_rate is None


def test_explosion_is_four_times_the_best_smoothed_loss_or_no_number() -> None:
    assert not has_diverged([2.0, 1.0, 7.9])
    assert has_diverged([2.0, 1.0, *[9.0] * 9])
    assert has_diverged([2.0, math.nan]) and has_diverged([2.0, math.inf])


def test_curve_survives_json() -> None:
    curve = RateCurve((0.1, 0.2), (2.0, 1.5), 0.4)
    assert RateCurve.from_dict(json.loads(json.dumps(curve.as_dict()))) == curve
