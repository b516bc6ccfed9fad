from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.analysis.confirmation.verdict import JudgedRun, Verdict, images_part, judge
from dashboards.analysis.welch import welch

N_IMAGES = 200


def runs(scores: list[float], *, seed: int = 0, taste: float = 0.0) -> list[JudgedRun]:
    """Runs whose influences vary from run to run, and by image as `taste` says."""
    random = np.random.default_rng(seed)
    own_N = taste * random.standard_normal(N_IMAGES)
    return [JudgedRun(score, own_N + random.standard_normal(N_IMAGES)) for score in scores]


def verdict(winner: list[JudgedRun], control: list[JudgedRun], **plan: Any) -> Verdict:
    return judge(winner, control, **{"alpha": 0.05, "margin": 0.0} | plan)


def test_without_a_part_of_the_images_it_is_welchs_test() -> None:
    winner, control = [0.43, 0.44, 0.46], [0.40, 0.41, 0.42]
    still = [[JudgedRun(score, np.zeros(9)) for score in arm] for arm in (winner, control)]
    found, plain = verdict(*still), welch(winner, control)
    assert found.images_error == 0
    assert found.seeds_error == plain.error
    assert found.p_value == pytest.approx(plain.p_value())
    assert (found.low, found.high) == pytest.approx(plain.interval(0.9))
    assert found.is_better


def test_images_on_which_settings_differ_widen_the_error_and_more_seeds_do_not_help() -> None:
    alike = verdict(runs([0.43, 0.44, 0.46]), runs([0.40, 0.41, 0.42], seed=1))
    apart = verdict(runs([0.43, 0.44, 0.46], taste=3), runs([0.40, 0.41, 0.42], seed=1, taste=3))
    assert alike.images_error < 0.1 * apart.images_error
    assert apart.error == pytest.approx(np.hypot(apart.seeds_error, apart.images_error))
    assert apart.high - apart.low > alike.high - alike.low
    many = [runs([0.4] * 50, seed=seed, taste=3) for seed in (0, 1)]
    assert images_part(*many) == pytest.approx(3 * (2 / N_IMAGES) ** 0.5, rel=0.2)


def test_what_runs_differ_in_by_themselves_is_no_part_of_the_images() -> None:
    parts = [
        images_part(runs([0.4] * 4, seed=seed), runs([0.4] * 4, seed=seed + 1000))
        for seed in range(50)
    ]
    # Without taking it off, each would be (2 / 4 / 200) ** 0.5 = 0.05.
    assert np.mean(parts) < 0.015
    single = images_part(runs([0.4]), runs([0.4], seed=1))
    assert single == pytest.approx((2 / N_IMAGES) ** 0.5, rel=0.2)


def test_interval_excludes_the_margin_exactly_where_a_test_at_5_percent_claims() -> None:
    for gap in np.linspace(0, 0.1, 21):
        winner = runs([0.40 + gap, 0.42 + gap, 0.43 + gap])
        found = verdict(winner, runs([0.40, 0.41, 0.42], seed=1), margin=0.01)
        assert found.is_better == (found.low > 0.01)


def test_least_detectable_difference_is_found_in_80_of_100_cases() -> None:
    found = verdict(runs([0.43, 0.44, 0.46], taste=2), runs([0.40, 0.41, 0.42], seed=1, taste=2))
    random = np.random.default_rng(0)
    t = random.standard_t(found.degrees, 20_000)
    estimates = found.least_detectable + found.error * t
    critical = found.error * np.quantile(random.standard_t(found.degrees, 200_000), 0.95)
    assert np.mean(estimates > critical) == pytest.approx(0.8, abs=0.02)


def test_scores_that_do_not_spread_leave_no_doubt() -> None:
    still = [JudgedRun(0.5, np.zeros(9))] * 2
    worse = [JudgedRun(0.4, np.zeros(9))] * 2
    assert verdict(still, worse).is_better
    assert not verdict(still, still).is_better
    assert not verdict(still, worse, margin=0.2).is_better
    assert verdict(still, worse).least_detectable == 0


@given(st.permutations(range(4)), st.permutations(range(4)))
def test_order_of_runs_does_not_matter(one: list[int], other: list[int]) -> None:
    winner, control = runs([0.4, 0.41, 0.45, 0.43], taste=1), runs([0.4, 0.38, 0.37, 0.41], seed=1)
    shuffled = verdict([winner[i] for i in one], [control[i] for i in other])
    for name, value in asdict(verdict(winner, control)).items():
        assert getattr(shuffled, name) == pytest.approx(value), name


def test_verdict_is_stored_and_read_as_plain_values() -> None:
    found = verdict(runs([0.43, 0.44]), runs([0.40, 0.41], seed=1))
    assert Verdict(**asdict(found)) == found
    assert not replace(found, p_value=0.06).is_better
