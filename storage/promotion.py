"""Which paused trial goes on next: successive halving without a schedule of its own (ASHA).

At a rung, an epoch that many trials reach, a trial pauses unless it is the first in line to go on.
The line follows from the recorded epochs alone, so that a repeated question has the same answer
and a worker that dies leaves nothing to mend. Source: Li et al., A System for Massively Parallel
Hyperparameter Tuning, MLSys 2020.
"""

import math
from collections.abc import Mapping, Sequence

FACTOR = 2
"""One of so many trials at a rung may go on: the better half."""


def rung_epochs(rungs: Sequence[float], *, n_epochs: int, warmup_epochs: float) -> list[int]:
    """Return the epochs of the rungs, in order and each once.

    Args:
        rungs: Parts of the schedule, between 0 and 1.
        n_epochs: Epochs of the schedule.
        warmup_epochs: Epochs in which the learning rate rises; the first rung lies after them.
    """
    least = math.floor(warmup_epochs) + 1
    epochs = {max(least, round(part * n_epochs)) for part in rungs}
    return sorted(epoch for epoch in epochs if epoch < n_epochs)


def promotable_trials(
    reached: Mapping[int, Mapping[int, float]],
    paused: Mapping[int, int],
    *,
    factor: int = FACTOR,
) -> list[int]:
    """Return the paused trials that may go on: those of the highest rung first, then by value.

    A trial may go on while it is in the better half (with factor 2) of all trials that reached its
    rung, whether they run, wait or are finished; of equal values the earlier trial is better.

    Args:
        reached: By epoch of the rung, the best value until then of each trial that reached it.
        paused: The epoch of the rung at which each paused trial waits.
        factor: One of so many may go on.
    """
    return [
        trial
        for rung in sorted(reached, reverse=True)
        for trial in best_part(reached[rung], factor)
        if paused.get(trial) == rung
    ]


def best_part(values: Mapping[int, float], factor: int) -> Sequence[int]:
    """Return the best of some trials, the best first; the part is rounded down.

    Args:
        values: The value of each trial.
        factor: One of so many is returned.
    """
    ordered = sorted(values, key=lambda trial: (-values[trial], trial))
    return ordered[: len(ordered) // factor]
