"""How trials end: pruned, paused, failed or out of memory. Must not import torch."""

import re

from dashboards.analysis.diagnosis.evidence import Evidence, is_frequent
from dashboards.analysis.diagnosis.ranges import FEWEST_COMPLETE
from dashboards.analysis.diagnosis.remedies import fork_with
from storage.trial_rows import PAUSED_STATE

FEWEST_FOR_PRUNING = 20
"""Finished trials before anything is said of the pruner."""
OVER_PRUNED = 0.9
"""Part of the finished trials; rungs that keep half three times prune seven of eight."""
FEWEST_PAUSED = 10
BY_PRUNER = ("pruned", "not promoted")
NO_WORD = re.compile(r"[^\w ]")
OUT_OF_MEMORY = "out of memory"
SCHEDULE_PRUNERS = ("percentile", "median", "halving")
"""Pruners whose own settings may keep them from pruning anything."""


def describe_failures(evidence: Evidence) -> list[str]:
    """Return how many trials failed and why, and how many ran out of memory."""
    n_finished = evidence.n_finished
    sentences = []
    n_failed = evidence.counts.get("failed", 0)
    if is_frequent(n_failed, n_finished):
        sentences.append(
            f"{n_failed:,} of {n_finished:,} finished trials failed{_why_failed(evidence)}, and "
            "taught the sampler nothing. Find the cause first, `study trials --json` has each "
            "reason."
        )
    n_full = evidence.kinds.get(OUT_OF_MEMORY, 0)
    if is_frequent(n_full, n_finished):
        sentences.append(
            f"{n_full:,} of {n_finished:,} finished trials ran out of memory, so the search does "
            f"not see large networks. {_use_less_memory(evidence)}"
        )
    return sentences


def _why_failed(evidence: Evidence) -> str:
    kinds = sorted(evidence.failure_kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    # Plain words, whatever a database holds: the summary is Markdown.
    shown = ", ".join(f"{count:,} {NO_WORD.sub('?', kind)}" for kind, count in kinds)
    return f" ({shown})" if shown else ""


def _use_less_memory(evidence: Evidence) -> str:
    batch_size = evidence.setting("optimization.batch_size")
    if batch_size is None or batch_size < 2:
        return "Search smaller networks."
    return f"Use smaller batches, {fork_with('optimization.batch_size', batch_size // 2)}."


def describe_pruning(evidence: Evidence) -> list[str]:
    """Return whether the pruner stops nothing, or so much that few trials are complete."""
    n_finished, pruner = evidence.n_finished, evidence.setting("search.pruner")
    n_pruned = sum(evidence.kinds.get(kind, 0) for kind in BY_PRUNER)
    n_complete = evidence.counts.get("complete", 0)
    if n_finished < FEWEST_FOR_PRUNING or pruner in (None, "none"):
        return []
    if n_pruned == 0 and n_complete >= FEWEST_FOR_PRUNING and pruner in SCHEDULE_PRUNERS:
        return [
            f"None of {n_finished:,} finished trials was pruned by pruner {pruner}, so each of "
            f"the {n_complete:,} complete ones cost its whole schedule. Prune at rungs, "
            f"{fork_with('search.pruner', 'promotion')}."
        ]
    if n_pruned >= OVER_PRUNED * n_finished and n_complete < FEWEST_COMPLETE:
        are = "is" if n_complete == 1 else "are"
        return [
            f"{n_pruned:,} of {n_finished:,} finished trials were pruned by pruner {pruner} and "
            f"{n_complete} {are} complete: too few to rank configurations by. "
            f"{_prune_less(evidence, pruner)}"
        ]
    return []


def _prune_less(evidence: Evidence, pruner: str) -> str:
    kept = evidence.setting("search.pruner_percentile")
    if pruner == "percentile" and kept is not None:
        return f"Keep more trials, {fork_with('search.pruner_percentile', (kept + 100) / 2)}."
    if pruner in SCHEDULE_PRUNERS:
        return f"Pause trials instead, {fork_with('search.pruner', 'promotion')}."
    return f"Prune at one rung only, {fork_with('search.rungs', '[0.5]')}."


def describe_pauses(evidence: Evidence) -> list[str]:
    """Return how many trials are paused, where none is complete yet."""
    n_paused = evidence.counts.get(PAUSED_STATE, 0)
    if n_paused < FEWEST_PAUSED or evidence.n_complete > 0:
        return []
    return [
        f"{n_paused:,} trials are paused at their rungs and none is complete, so no score is "
        "final yet. Let the workers go on: the better half of each rung continues."
    ]
