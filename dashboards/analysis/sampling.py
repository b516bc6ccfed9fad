"""A sample of trials, where all are too many to show; it is the same at every call."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def sample(some: Sequence[T], most: int, value: Callable[[T], float | None]) -> list[T]:
    """Return trials in their order: all, or a third each of the best, the newest and the others.

    Args:
        some: In the order in which they were added.
        most: How many may be returned.
        value: The greater, the better; None where there is none.
    """
    if len(some) <= most:
        return list(some)
    share = most // 3
    scores = [value(one) for one in some]
    known = [index for index, score in enumerate(scores) if score is not None]
    best = sorted(known, key=lambda index: (-(scores[index] or 0.0), index))[:share]
    newest = range(len(some) - share, len(some))
    spaced = range(0, len(some), math.ceil(len(some) / (most - 2 * share)))
    return [some[index] for index in sorted({*best, *newest, *spaced})]
