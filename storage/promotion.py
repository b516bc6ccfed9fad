"""Which paused trial goes on next: successive halving without a schedule of its own (ASHA).

At a rung, an epoch that many trials reach, a trial pauses unless it is the first in line to go on.
The line follows from the recorded epochs alone, so that a repeated question has the same answer
and a worker that dies leaves nothing to mend. Source: Li et al., A System for Massively Parallel
Hyperparameter Tuning, MLSys 2020.
"""

import math
from collections.abc import Mapping, Sequence

KEPT = 0.5
"""Part of the trials at a rung that may go on: the better half."""


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
    reached: Mapping[int, Mapping[int, float]], paused: Mapping[int, int]
) -> list[int]:
    """Return the paused trials that may go on: those of the highest rung first, then by value.

    A trial may go on while it is in the better half of all trials that reached its rung, whether
    they run, wait or are finished; of equal values the earlier trial is the better one.

    Args:
        reached: By epoch of the rung, the best value until then of each trial that reached it.
        paused: The epoch of the rung at which each paused trial waits.
    """
    return [
        trial
        for rung in sorted(reached, reverse=True)
        for trial in better_half(reached[rung])
        if paused.get(trial) == rung
    ]


def better_half(values: Mapping[int, float]) -> Sequence[int]:
    """Return the better half of some trials, the best first; of an odd number the smaller half.

    Args:
        values: The value of each trial.
    """
    ordered = sorted(values, key=lambda trial: (-values[trial], trial))
    return ordered[: int(len(ordered) * KEPT)]
