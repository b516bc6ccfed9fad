from hypothesis import given
from hypothesis import strategies as st

from dashboards.analysis.confirmation.selection import (
    Candidate,
    cheaper_rival,
    choose,
    still_racing,
)


def candidate(
    number: int, *scores: float, failed: int = 0, cost: int = 10, search_score: float = 0.5
) -> Candidate:
    return Candidate(number, search_score, scores, failed, cost)


def test_the_best_mean_wins_whatever_the_search_said() -> None:
    found = choose([candidate(3, 0.5, 0.3, search_score=0.9), candidate(8, 0.42, 0.43)])
    assert found is not None and found.number == 8


def test_of_equal_means_the_search_decides_then_the_earlier_trial() -> None:
    equal = [candidate(9, 0.4, 0.4), candidate(4, 0.4, 0.4), candidate(7, 0.4, 0.4)]
    found = choose(equal)
    assert found is not None and found.number == 4
    found = choose([*equal, candidate(11, 0.4, 0.4, search_score=0.6)])
    assert found is not None and found.number == 11


def test_a_candidate_with_a_run_that_failed_does_not_win() -> None:
    found = choose([candidate(3, 0.9, failed=1), candidate(8, 0.2, 0.2)])
    assert found is not None and found.number == 8
    assert choose([candidate(3, 0.9, failed=1), candidate(8, failed=2)]) is None
    assert choose([]) is None


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=4).map(tuple), min_size=1, max_size=6),
    st.randoms(),
)
def test_order_of_candidates_does_not_matter(scores: list[tuple[float, ...]], random) -> None:  # type: ignore[no-untyped-def]
    candidates = [candidate(number, *mine) for number, mine in enumerate(scores)]
    shuffled = random.sample(candidates, len(candidates))
    assert choose(shuffled) == choose(candidates)
    assert {one.number for one in still_racing(shuffled)} == {
        one.number for one in still_racing(candidates)
    }
    best = choose(candidates)
    assert best in still_racing(candidates)


def test_a_race_leaves_out_what_is_clearly_behind() -> None:
    best, near = candidate(1, 0.50, 0.52), candidate(2, 0.49, 0.52)
    behind, failed = candidate(3, 0.30, 0.31), candidate(4, 0.60, failed=1)
    assert still_racing([best, near, behind, failed]) == [best, near]


def test_a_cheaper_candidate_is_named_only_within_one_standard_error() -> None:
    winner = candidate(1, 0.50, 0.52, cost=10)
    near, nearer = candidate(2, 0.49, 0.52, cost=5), candidate(3, 0.50, 0.51, cost=8)
    far, dear = candidate(4, 0.30, 0.31, cost=1), candidate(5, 0.50, 0.52, cost=20)
    assert cheaper_rival(winner, [winner, far, nearer, near, dear]) == near
    assert cheaper_rival(winner, [winner, far, dear]) is None
