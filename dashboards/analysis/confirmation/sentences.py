"""The verdict in words, the same on every page. Must not import torch."""

import statistics
from collections.abc import Sequence

from dashboards.analysis.confirmation.reading import CANDIDATE, Confirmation
from dashboards.analysis.confirmation.verdict import Verdict
from dashboards.formatting import shown_p_value

BETTER = "better than the default"
NOT_TOLD = "not told from the default"
NOT_CONFIRMED = "not confirmed"


def headline(confirmation: Confirmation) -> str:
    """Return the verdict in one sentence; before the end, how far the confirmation is."""
    if confirmation.is_undecided:
        return f"{NOT_CONFIRMED}: each candidate has a run that failed"
    winner = confirmation.winner
    if not confirmation.is_over or winner is None:
        judging = [run for run in confirmation.runs if run.role != CANDIDATE]
        runs, stage = (judging, "second") if judging else (confirmation.runs, "first")
        n_done = sum(run.is_over for run in runs)
        return f"{NOT_CONFIRMED}: {n_done} of {len(runs)} runs of the {stage} stage are done"
    if confirmation.is_control_the_winner:
        return f"trial {winner.number}, the default itself, won among the candidates"
    if confirmation.awaits_verdict:
        return f"{NOT_CONFIRMED}: all runs are done, `study confirm` judges them"
    verdict = confirmation.verdict
    if verdict is None:
        n_runs = sum(run.role != CANDIDATE for run in confirmation.runs)
        return f"{NOT_CONFIRMED}: {confirmation.n_failed} of {n_runs} runs that judge failed"
    if verdict.is_better:
        more = f" by more than {verdict.margin:.4f}" if verdict.margin else ""
        return f"trial {winner.number} is {BETTER}{more}"
    advice = "keep the default"
    if confirmation.control is None:
        advice = "no trial has its values, so the winner is taken"
    return f"trial {winner.number} is {NOT_TOLD}: {advice}"


def sentences(confirmation: Confirmation) -> list[str]:
    """Return the headline, then what it rests on, a sentence each."""
    found = [headline(confirmation)]
    best = confirmation.winner
    if not confirmation.is_over or confirmation.awaits_verdict or best is None:
        return found
    on = "confirmation images" if confirmation.is_on_own_images else "images of the search"
    scores = f"mean macro-F1 on {confirmation.n_images:,} {on}"
    if confirmation.is_control_the_winner:
        found.append(f"{scores}: {_arm(confirmation.control_scores)}")
    else:
        winner, control = confirmation.winner_scores, confirmation.control_scores
        found.append(f"{scores}: {_arm(winner)}, the default {_arm(control)}")
    if confirmation.verdict is not None:
        found += _about(confirmation.verdict)
    if confirmation.shrinkage is not None and confirmation.confirmed_score is not None:
        why = ": its best epoch, of the luckiest seed" if confirmation.shrinkage > 0 else ""
        found.append(
            f"the search said {best.search_score:.4f}, {confirmation.confirmed_score:.4f} is "
            f"confirmed ({-confirmation.shrinkage:+.4f}){why}"
        )
    cheaper = confirmation.cheaper
    if cheaper is not None:
        part = cheaper.cost / best.cost
        found.append(
            f"trial {cheaper.number} lies within one standard error of trial "
            f"{best.number}, at {100 * part:.0f} % of its multiply-accumulates"
        )
    if not confirmation.is_on_own_images:
        found.append(
            "caution: these images chose the winner too, so that chance is called better more "
            "often than it says"
        )
    return found


def _arm(scores: Sequence[float]) -> str:
    if not scores:
        return "no run"
    if len(scores) == 1:
        return f"{scores[0]:.4f} (1 seed)"
    mean, deviation = statistics.fmean(scores), statistics.stdev(scores)
    return f"{mean:.4f} ± {deviation:.4f} ({len(scores)} seeds)"


def _about(verdict: Verdict) -> list[str]:
    reach = (verdict.high - verdict.low) / 2
    part = reach / verdict.error if verdict.error else 0.0
    return [
        f"difference {verdict.difference:+.4f}, 90 % interval {verdict.low:+.4f} to "
        f"{verdict.high:+.4f} (from seeds ±{part * verdict.seeds_error:.4f}, from images "
        f"±{part * verdict.images_error:.4f}), p {shown_p_value(verdict.p_value)}",
        f"least detectable: such a test finds a difference of {verdict.least_detectable:.4f} in "
        "80 of 100 cases",
    ]
