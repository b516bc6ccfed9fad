"""Decodes the images of one split, in parallel, into one file of uint8 pixels.

Threads, not processes: Pillow releases the interpreter while it decodes, and a killed build
leaves no orphans. Must not decide which rows belong to the split.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from data.configuration import DataConfig
from data.decoding import Original, decode
from data.errors import BrokenImageError
from data.sources.encoded_images import EncodedImage, EncodedSplit
from data.splits import SplitRows
from data.statistics import BrokenImage, SplitTally, tally_images

T = TypeVar("T")
R = TypeVar("R")
CHUNK_IMAGES = 256
READ_IMAGES = 16


class Track(Protocol):
    """Shows the progress of a loop whose every item stands for `step` of `total` units."""

    def __call__(
        self, iterable: Iterable[T], description: str, total: int, step: int, /
    ) -> Iterable[T]:
        """Passes the iterable through."""


def no_progress(iterable: Iterable[T], description: str, total: int, step: int, /) -> Iterable[T]:
    """Shows nothing."""
    return iterable


def write_split(
    source: EncodedSplit, rows: SplitRows, *, path: Path, config: DataConfig, track: Track
) -> SplitTally:
    """Decodes rows of a source, in their order, and appends their pixels to a file.

    Args:
        source: the source split the rows lie in.
        rows: which rows, and their classes.
        path: the file to write, named after the split; uint8, NHWC, without a header.
        config: image size, and what to do about a broken image.
        track: shows the progress.

    Raises:
        BrokenImageError: an image cannot be decoded and `broken_images` is "stop".
    """
    decoder = _ChunkDecoder(source, rows, config)
    starts = range(0, len(rows.rows_N), CHUNK_IMAGES)
    tally = SplitTally()
    with path.open("wb") as file, ThreadPoolExecutor(_n_threads()) as threads:
        chunks = _in_order(threads, decoder, starts)
        shown = track(chunks, f"decoding {path.stem}", len(rows.rows_N), CHUNK_IMAGES)
        for images_NHWC, chunk_tally in shown:
            file.write(images_NHWC.data)
            tally += chunk_tally
    return tally


@dataclass(frozen=True)
class _ChunkDecoder:
    source: EncodedSplit
    rows: SplitRows
    config: DataConfig

    def __call__(self, start: int) -> tuple[NDArray[np.uint8], SplitTally]:
        rows_N = self.rows.rows_N[start : start + CHUNK_IMAGES]
        size = self.config.image_size
        images_NHWC = np.empty((len(rows_N), size, size, 3), dtype=np.uint8)
        originals: list[Original] = []
        kept: list[int] = []
        dropped: list[BrokenImage] = []
        for position, image in enumerate(self._read(rows_N)):
            try:
                if image.content is None:
                    raise ValueError("it has neither bytes nor a file in data.source")
                images_NHWC[len(kept)], original = decode(image.content, image_size=size)
            # Pillow raises nearly anything on damaged files; each is reported or counted.
            except Exception as error:
                if self.config.broken_images == "stop":
                    raise self._rejection(image, error) from error
                dropped.append(self._broken(image, error))
                continue
            originals.append(original)
            kept.append(position)
        images_NHWC = images_NHWC[: len(kept)]
        labels_N = self.rows.labels_N[start : start + CHUNK_IMAGES][kept]
        tally = tally_images(
            images_NHWC, labels_N, rows_N=rows_N[kept], originals=originals, dropped=dropped
        )
        return images_NHWC, tally

    def _read(self, rows_N: NDArray[np.int64]) -> Iterator[EncodedImage]:
        # A few at a time: a photograph may have ten megabytes, and each thread reads its own.
        for start in range(0, len(rows_N), READ_IMAGES):
            yield from self.source.read(rows_N[start : start + READ_IMAGES])

    def _rejection(self, image: EncodedImage, error: Exception) -> BrokenImageError:
        broken = self._broken(image, error)
        return BrokenImageError(
            f"data.source: an image cannot be decoded, split {broken.source_split}, "
            f"{broken.name}: {broken.reason}; repair or shrink it, or set data.broken_images to "
            "drop"
        )

    def _broken(self, image: EncodedImage, error: Exception) -> BrokenImage:
        return BrokenImage(
            source_split=self.rows.source_split,
            name=image.name,
            reason=str(error).rstrip(".") or type(error).__name__,
        )


def _in_order(
    threads: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]
) -> Iterator[R]:
    """Like `threads.map`, but never more than a few results ahead of the reader."""
    remaining = iter(items)
    pending: deque[Future[R]] = deque()
    try:
        pending.extend(threads.submit(work, item) for item in islice(remaining, 2 * _n_threads()))
        while pending:
            result = pending.popleft().result()
            pending.extend(threads.submit(work, item) for item in islice(remaining, 1))
            yield result
    finally:
        for future in pending:
            future.cancel()


def _n_threads() -> int:
    return min(32, len(os.sched_getaffinity(0)))
