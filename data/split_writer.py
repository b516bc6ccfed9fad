"""Decodes the images of one split, in parallel, into one file of uint8 pixels.

Threads, not processes: Pillow releases the interpreter while it decodes, and a killed build
leaves no orphans. Must not decide which rows belong to the split.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from data.broken_images import describe_error, find_reason, reject
from data.configuration import DataConfig
from data.decoding import Original, decode
from data.decoding_threads import chunk_images, count_threads, in_order
from data.sources.encoded_images import EncodedImage, EncodedSplit
from data.splits import SplitRows
from data.statistics import BrokenImage, SplitTally, join_tallies, tally_images

T = TypeVar("T")
READ_BYTES = 2**23
"""Of encoded images that a thread reads at a time, unless a single one has more."""
READ_GROWTH = 4


class Track(Protocol):
    """Shows the progress of a loop whose every item stands for `step` of `total` units."""

    def __call__(
        self, iterable: Iterable[T], description: str, total: int, step: int, /
    ) -> Iterable[T]:
        """Passes the iterable through."""


def no_progress(iterable: Iterable[T], description: str, total: int, step: int, /) -> Iterable[T]:
    """Shows nothing."""
    return iterable


def require_files(
    splits: Mapping[str, EncodedSplit], rows: Iterable[SplitRows], *, config: DataConfig
) -> None:
    """Rejects files that are empty or git-lfs pointers, before anything is decoded.

    Images whose bytes lie in tables are not looked at.

    Args:
        splits: the splits of the source.
        rows: those that will be decoded.
        config: says what to do about a broken image.

    Raises:
        BrokenImageError: there are such files and `broken_images` is "stop".
    """
    if config.broken_images == "drop":
        return
    broken = [image for part in rows for image in _find_hollow(splits[part.source_split], part)]
    if broken:
        raise reject(broken, n_broken=len(broken))


def write_split(
    source: EncodedSplit, rows: SplitRows, *, path: Path, config: DataConfig, track: Track
) -> SplitTally:
    """Decodes rows of a source, in their order, and appends their pixels to a file.

    Args:
        source: the source split the rows lie in.
        rows: which rows, and their classes.
        path: the file to write, named after the split; uint8, NHWC, without a header.
        config: image size, how an image becomes square, and what to do about a broken one: the
            rest is decoded in any case, and written unless `broken_images` is "stop".
        track: shows the progress.
    """
    n_images = chunk_images(config.image_size)
    decoder = _ChunkDecoder(source, rows, config, n_images)
    starts = range(0, len(rows.rows_N), n_images)
    with path.open("wb") as file, ThreadPoolExecutor(count_threads()) as threads:
        chunks = in_order(threads, decoder, starts, n_ahead=2 * count_threads())
        shown = track(chunks, f"decoding {path.stem}", len(rows.rows_N), n_images)

        def write() -> Iterator[SplitTally]:
            is_useful = True
            for images_NHWC, tally in shown:
                is_useful &= config.broken_images == "drop" or not tally.n_dropped
                if is_useful:
                    file.write(images_NHWC.data)
                yield tally

        return join_tallies(write())


def require_whole_images(tallies: Iterable[SplitTally], *, config: DataConfig) -> None:
    """Rejects what could not be decoded, all of it at once.

    Args:
        tallies: of all splits.
        config: says what to do about a broken image.

    Raises:
        BrokenImageError: an image cannot be decoded and `broken_images` is "stop".
    """
    broken = [tally for tally in tallies if tally.n_dropped]
    if broken and config.broken_images == "stop":
        raise reject(
            [image for tally in broken for image in tally.dropped],
            n_broken=sum(tally.n_dropped for tally in broken),
        )


@dataclass(frozen=True)
class _ChunkDecoder:
    source: EncodedSplit
    rows: SplitRows
    config: DataConfig
    n_images: int

    def __call__(self, start: int) -> tuple[NDArray[np.uint8], SplitTally]:
        rows_N = self.rows.rows_N[start : start + self.n_images]
        size = self.config.image_size
        images_NHWC = np.empty((len(rows_N), size, size, 3), dtype=np.uint8)
        originals: list[Original] = []
        kept: list[int] = []
        names: list[str] = []
        below = f"{self.config.source.rstrip('/')}/"
        dropped: list[BrokenImage] = []
        for position, image in enumerate(_read(self.source, rows_N)):
            try:
                images_NHWC[len(kept)], original = self._decode(image)
            # Pillow raises nearly anything on damaged files; each is reported or counted.
            except Exception as error:
                dropped.append(_broken(image, self.rows, describe_error(image.content, error)))
                continue
            originals.append(original)
            kept.append(position)
            names.append(image.name.removeprefix(below))
        images_NHWC = images_NHWC[: len(kept)]
        labels_N = self.rows.labels_N[start : start + self.n_images][kept]
        tally = tally_images(
            images_NHWC,
            labels_N,
            rows_N=rows_N[kept],
            names=names,
            originals=originals,
            dropped=dropped,
        )
        return images_NHWC, tally

    def _decode(self, image: EncodedImage) -> tuple[NDArray[np.uint8], Original]:
        if image.content is None:
            raise ValueError(find_reason(None))
        return decode(
            image.content,
            image_size=self.config.image_size,
            resize=self.config.resize,
            value_range=self.config.value_range,
        )


def _read(source: EncodedSplit, rows_N: NDArray[np.int64]) -> Iterator[EncodedImage]:
    """Read many small images at a time, but few large ones: their size is known afterwards."""
    start, n_rows, most_bytes = 0, 1, 1
    while start < len(rows_N):
        images = source.read(rows_N[start : start + n_rows])
        yield from images
        start += n_rows
        sizes = [len(image.content) for image in images if isinstance(image.content, bytes)]
        most_bytes = max([most_bytes, *sizes])
        n_rows = max(1, min(READ_GROWTH * n_rows, READ_BYTES // most_bytes))


def _find_hollow(source: EncodedSplit, rows: SplitRows) -> Iterator[BrokenImage]:
    """Check every file that holds an image; none where the first image has its bytes."""
    for position, image in enumerate(_read(source, rows.rows_N)):
        if position == 0 and isinstance(image.content, bytes):
            return
        with suppress(OSError):  # decoding tells
            if image.content is not None and (reason := find_reason(image.content)):
                yield _broken(image, rows, reason)


def _broken(image: EncodedImage, rows: SplitRows, reason: str) -> BrokenImage:
    return BrokenImage(source_split=rows.source_split, name=image.name, reason=reason)
