"""Threads that decode pictures: how many, how much each decodes at a time, how far ahead.

Threads, not processes: Pillow releases the interpreter while it decodes, and a killed process
leaves no orphans. Must not know what is decoded.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
MOST_CHUNK_IMAGES = 256
CHUNK_BYTES = 2**22
"""Of prepared pixels that lie together in memory."""


def chunk_images(image_size: int) -> int:
    """Return how many images are decoded, or predicted, together: fewer where they are larger.

    Args:
        image_size: Height and width of a prepared image, in pixels.
    """
    return min(MOST_CHUNK_IMAGES, max(1, CHUNK_BYTES // (3 * image_size**2)))


def count_threads() -> int:
    """Return how many threads decode on this machine."""
    return min(32, len(os.sched_getaffinity(0)))


def in_order(
    threads: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], *, n_ahead: int
) -> Iterator[R]:
    """Like `threads.map`, but never more than a few results ahead of the reader.

    Args:
        threads: They do the work.
        work: Called with each item.
        items: As many as there are; they are not listed.
        n_ahead: Most results that wait for the reader.
    """
    remaining = iter(items)
    pending: deque[Future[R]] = deque()
    try:
        pending.extend(threads.submit(work, item) for item in islice(remaining, n_ahead))
        while pending:
            result = pending.popleft().result()
            pending.extend(threads.submit(work, item) for item in islice(remaining, 1))
            yield result
    finally:
        for future in pending:
            future.cancel()
