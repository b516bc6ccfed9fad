"""Welch's test and Holm's correction, against SciPy and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from dashboards.analysis.welch import holm, welch

# SciPy warns where one of them does not spread.
VALUES = st.lists(st.integers(0, 16).map(lambda n: n / 16), min_size=2, max_size=6, unique=True)


@given(VALUES, VALUES)
def test_p_values_and_interval_are_those_of_scipy(a: list[float], b: list[float]) -> None:
    found = welch(a, b)
    peer = ttest_ind(a, b, equal_var=False)
    assert found.p_two_sided() == pytest.approx(peer.pvalue)
    assert found.p_value() == pytest.approx(
        ttest_ind(a, b, equal_var=False, alternative="greater").pvalue
    )
    assert found.degrees == pytest.approx(peer.df)
    assert found.interval(0.9) == pytest.approx(tuple(peer.confidence_interval(0.9)))
    shifted = welch([value - 0.25 for value in a], b)
    assert found.p_value(margin=0.25) == pytest.approx(shifted.p_value())


def test_difference_of_values_that_do_not_spread_is_certain() -> None:
    found = welch([0.5, 0.5], [0.25, 0.25, 0.25])
    assert (found.value, found.error, found.degrees) == (0.25, 0.0, 3)
    assert found.p_two_sided() == found.p_value() == 0.0
    assert found.p_value(margin=0.25) == 1.0
    assert found.interval(0.9) == (0.25, 0.25)
    none = welch([0.003] * 2, [0.003] * 3)
    assert none.p_two_sided() == none.p_value() == 1.0


def test_one_value_has_no_spread_and_is_rejected() -> None:
    with pytest.raises(ValueError, match="welch needs two values of each, got 1 and 3"):
        welch([0.5], [0.1, 0.2, 0.3])


def test_corrected_p_values_are_those_of_holm_in_their_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([0.9, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_one_false_alarm_in_twenty_families_remains_after_correction() -> None:
    p_values = np.random.default_rng(0).uniform(size=(4000, 8))
    alarms = np.mean([min(holm(family)) < 0.05 for family in p_values.tolist()])
    assert 0.04 < alarms < 0.06
    assert np.mean(p_values.min(axis=1) < 0.05) > 0.3
