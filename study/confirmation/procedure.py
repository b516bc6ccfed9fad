"""What a confirmation trains next: a pure function of what its runs have come to.

Stage 1 trains each candidate with fresh seeds; the best mean wins. Stage 2 trains the winner and
the control with further seeds, which judge them on images that chose neither. No seed of a stage
serves the other, so that luck in the one says nothing in the other.
"""

from collections.abc import Sequence

from dashboards.analysis.confirmation.reading import (
    CANDIDATE,
    CONFIRMS,
    ConfirmationRun,
    Role,
    read_candidates,
)
from dashboards.analysis.confirmation.selection import choose, still_racing
from storage.final_groups import CONTROL, WINNER
from study.configuration.sections import ConfirmConfig
from study.confirmation.candidates import Setting, is_same
from study.creation.queue import Point


def first_points(candidates: Sequence[Setting], plan: ConfirmConfig) -> list[Point]:
    """Return the runs of the first stage: the first seed of every candidate, then the second."""
    return [_point(one, CANDIDATE) for _ in range(plan.selection_seeds) for one in candidates]


def next_points(
    runs: Sequence[ConfirmationRun], control: Setting, plan: ConfirmConfig
) -> list[Point]:
    """Return the runs that follow those that are queued.

    Args:
        runs: All that are queued, in order.
        control: The configured values.
        plan: How many seeds each gets.

    Returns:
        The slots to be added; none while a run is not over, and when nothing is left to do.
    """
    if any(run.role != CANDIDATE or not run.is_over for run in runs):
        return []
    candidates = read_candidates(runs)
    if plan.race:
        racing = still_racing(candidates)
        n_seeds = max(len(one.scores) + one.n_failed for one in candidates)
        if len(racing) > 1 and n_seeds < 2 * plan.selection_seeds:
            numbers = {one.number for one in racing}
            return [_point(one, CANDIDATE) for one in _settings(runs) if one.trial in numbers]
    winner = choose(candidates)
    if winner is None:
        return []
    # Another trial may have drawn the configured values too, or have them with another seed.
    control = next(
        (one for one in _settings(runs) if is_same(one.params, control.params)), control
    )
    arms: list[tuple[Setting, Role]] = [(control, CONTROL)]
    if winner.number != control.trial:
        won = next(one for one in _settings(runs) if one.trial == winner.number)
        arms.insert(0, (won, WINNER))
    return [_point(*arm) for _ in range(plan.verdict_seeds) for arm in arms]


def _point(setting: Setting, role: Role) -> Point:
    confirms = {
        "role": role,
        "trial": setting.trial,
        "search_score": setting.search_score,
        "cost": setting.cost,
    }
    return Point(setting.params, {CONFIRMS: confirms})


def _settings(runs: Sequence[ConfirmationRun]) -> list[Setting]:
    """Return the candidates as they were queued, each once."""
    found: dict[int, Setting] = {}
    for run in runs:
        noted = run.row.attributes[CONFIRMS]
        if run.role == CANDIDATE and run.searched_trial not in found:
            setting = Setting(run.row.params, noted["trial"], noted["search_score"], noted["cost"])
            found[noted["trial"]] = setting
    return list(found.values())
