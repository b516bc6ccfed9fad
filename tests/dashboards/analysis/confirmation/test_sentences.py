from dataclasses import replace
from typing import Any

from dashboards.analysis.confirmation.reading import CANDIDATE, Confirmation, ConfirmationRun, Role
from dashboards.analysis.confirmation.selection import Candidate
from dashboards.analysis.confirmation.sentences import headline, sentences
from dashboards.analysis.confirmation.verdict import Verdict
from storage.final_groups import CONTROL, WINNER
from tests.study.confirmation.rows import search_row

BETTER = Verdict(
    difference=0.04,
    low=0.01,
    high=0.07,
    seeds_error=0.012,
    images_error=0.009,
    degrees=6.0,
    p_value=0.018,
    alpha=0.05,
    margin=0.0,
    least_detectable=0.045,
)
UNTOLD = replace(BETTER, difference=0.01, low=-0.02, high=0.04, p_value=0.27)


def run(
    role: Role, trial: int, score: float | None, *, state: str = "complete"
) -> ConfirmationRun:
    return ConfirmationRun(role, trial, search_row(0, {}, score, state=state))


def confirmation(verdict: Verdict | None = BETTER, **changes: Any) -> Confirmation:
    found = Confirmation(
        study_name="pets",
        candidates=(
            Candidate(7, 0.5, (0.44, 0.46), 0, 200),
            Candidate(4, 0.48, (0.44, 0.45), 0, 100),
        ),
        control=0,
        runs=(
            *(run(CANDIDATE, trial, 0.45) for trial in (7, 4, 7, 4)),
            *(run(WINNER, 7, score) for score in (0.43, 0.45)),
            *(run(CONTROL, 0, score) for score in (0.39, 0.41)),
        ),
        is_on_own_images=True,
        n_images=2500,
        verdict=verdict,
    )
    return replace(found, **changes)


def test_better_winner_is_recommended_and_what_it_rests_on_is_said() -> None:
    found = confirmation()
    assert sentences(found) == [
        "trial 7 is better than the default",
        "mean macro-F1 on 2,500 confirmation images: 0.4400 ± 0.0141 (2 seeds), the default "
        "0.4000 ± 0.0141 (2 seeds)",
        "difference +0.0400, 90 % interval +0.0100 to +0.0700 (from seeds ±0.0240, from images "
        "±0.0180), p 0.018",
        "least detectable: such a test finds a difference of 0.0450 in 80 of 100 cases",
        "the search said 0.5000, 0.4400 is confirmed (-0.0600): its best epoch, of the luckiest "
        "seed",
        "trial 4 lies within one standard error of trial 7, at 50 % of its multiply-accumulates",
    ]
    assert found.recommended == 7


def test_winner_that_is_not_told_from_the_default_gives_way_to_it() -> None:
    found = confirmation(UNTOLD)
    assert headline(found) == "trial 7 is not told from the default: keep the default"
    assert found.recommended == 0


def test_default_that_no_trial_has_cannot_be_kept() -> None:
    found = confirmation(UNTOLD, control=None)
    assert headline(found) == (
        "trial 7 is not told from the default: no trial has its values, so the winner is taken"
    )
    assert found.recommended == 7


def test_margin_is_part_of_the_claim() -> None:
    found = confirmation(replace(BETTER, margin=0.005))
    assert headline(found) == "trial 7 is better than the default by more than 0.0050"


def test_default_that_wins_is_compared_with_nothing() -> None:
    runs = (*confirmation().runs[:4], run(CONTROL, 7, 0.43), run(CONTROL, 7, 0.45))
    found = confirmation(None, control=7, runs=runs)
    assert headline(found) == "trial 7, the default itself, won among the candidates"
    assert found.recommended == 7
    assert found.winner_scores == found.control_scores == [0.43, 0.45]


def test_runs_that_failed_leave_no_verdict() -> None:
    runs = confirmation().runs
    failed = (*runs[:5], run(WINNER, 7, None, state="failed"), *runs[6:])
    found = confirmation(None, runs=failed)
    assert headline(found) == "not confirmed: 1 of 4 runs that judge failed"
    assert found.recommended == 0
    failed = (*runs[:7], run(CONTROL, 0, None, state="failed"))
    assert confirmation(None, runs=failed).recommended == 7
    assert confirmation(None, runs=failed, control=None).recommended == 7


def test_before_the_end_nothing_is_recommended() -> None:
    runs = confirmation().runs
    first = (*runs[:3], run(CANDIDATE, 4, None, state="waiting"))
    found = confirmation(None, runs=first)
    assert sentences(found) == ["not confirmed: 3 of 4 runs of the first stage are done"]
    assert found.winner is found.recommended is found.confirmed_score is found.shrinkage is None
    second = (*runs[:7], run(CONTROL, 0, None, state="running"))
    found = confirmation(None, runs=second)
    assert headline(found) == "not confirmed: 3 of 4 runs of the second stage are done"
    assert found.winner is not None and found.recommended is None


def test_images_of_the_search_are_said_to_judge_too_kindly() -> None:
    found = sentences(confirmation(is_on_own_images=False, n_images=500))
    assert "on 500 images of the search" in found[1]
    assert found[-1].startswith("caution: these images chose the winner too")


def test_confirmed_score_above_that_of_the_search_is_no_luck() -> None:
    candidates = (replace(confirmation().candidates[0], search_score=0.42),)
    assert "the search said 0.4200, 0.4400 is confirmed (+0.0200)" in sentences(
        confirmation(candidates=candidates)
    )
