"""Counts and particularities of the images, and the channel statistics of the training split.

Written once, when the images are decoded, and read by reports. Must not open images.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from data.configuration import DataConfig
from data.decoding import Original
from data.duplicates import DuplicateCounts
from data.errors import DataError
from data.sources.encoded_images import LeftOut
from data.splits import TRAIN

HELD_OUT = "held out from"
MOST_DUPLICATE_GROUPS = 24
MOST_BROKEN_IMAGES = 50
LEAST_DEVIATION = 1e-4


class BrokenImage(BaseModel, frozen=True, extra="forbid"):
    """An image that was left out: where it lies in the source, and why it cannot be decoded."""

    source_split: str
    name: str
    reason: str


class DuplicateCopy(BaseModel, frozen=True, extra="forbid"):
    """One copy of a picture that is there more than once.

    `position` counts from 0 in the prepared split, `label` is an index into the class names, and
    `source_split` and `name` say where the copy lies in the source.
    """

    split: str
    position: int
    label: int
    source_split: str
    name: str


class DuplicateExample(BaseModel, frozen=True, extra="forbid"):
    """A picture that is there more than once, with the first of its copies in each split."""

    n_copies: int
    copies: tuple[DuplicateCopy, ...]


class Duplicates(BaseModel, frozen=True, extra="forbid"):
    """Pictures that are there more than once: of equal size, and equal once prepared."""

    within: dict[str, int]
    """Images of each split that the same split has earlier already."""
    across: dict[str, dict[str, int]]
    """Images of each split that an earlier split has too, by split and earlier split."""
    n_groups: int
    """Different pictures that are there more than once."""
    n_contradicting: int
    """Those of them whose copies are not all of one class."""
    examples: tuple[DuplicateExample, ...]
    """The first of them; those that lie in several splits come first."""

    @classmethod
    def of(cls, counts: DuplicateCounts, examples: tuple[DuplicateExample, ...]) -> Self:
        """Joins what was counted with the names of the examples."""
        return cls(
            within=counts.within,
            across=counts.across,
            n_groups=counts.n_groups,
            n_contradicting=counts.n_contradicting,
            examples=examples,
        )

    @property
    def n_across(self) -> int:
        """Images that an earlier split has too; one that two earlier splits have counts twice."""
        return sum(count for shared in self.across.values() for count in shared.values())


class DataDescription(BaseModel, frozen=True, extra="forbid"):
    """What a prepared data set holds.

    The dictionaries go by split: train, validation, confirmation where there is one, and test.
    """

    source: str
    fingerprint: str
    image_size: int
    class_names: tuple[str, ...]
    counts: dict[str, int]
    """Images."""
    origins: dict[str, str]
    """Where each split comes from, in words, such as "10 % held out from train"."""
    left_out: tuple[LeftOut, ...]
    """Files and rows of the source that are not used."""
    left_out_by_settings: tuple[LeftOut, ...]
    """Classes and images that settings leave out."""
    class_counts: dict[str, tuple[int, ...]]
    """Images of each class, in the order of the class names."""
    image_modes: dict[str, dict[str, int]]
    """Images by the mode they are stored in, such as RGB or L."""
    original_sizes: dict[str, dict[str, int]]
    """Images by their size before resizing, as WIDTHxHEIGHT."""
    dropped_counts: dict[str, int]
    """Images left out because they could not be decoded."""
    dropped: dict[str, tuple[BrokenImage, ...]]
    """The first of them."""
    duplicates: Duplicates
    mean: tuple[float, float, float]
    """Of each channel over the prepared training images, scaled to [0, 1]."""
    std: tuple[float, float, float]
    """Of each channel over the prepared training images, scaled to [0, 1]."""
    lacks_confirmation: bool = False
    """Whether validation images were to be divided, and no class has two of them."""

    @classmethod
    def of(
        cls,
        tallies: dict[str, "SplitTally"],
        *,
        config: DataConfig,
        fingerprint: str,
        class_names: tuple[str, ...],
        origins: dict[str, str],
        left_out: tuple[LeftOut, ...],
        left_out_by_settings: tuple[LeftOut, ...],
        duplicates: Duplicates,
        lacks_confirmation: bool,
    ) -> Self:
        """Sums up what was counted while the splits were decoded."""
        return cls(
            source=config.source,
            fingerprint=fingerprint,
            image_size=config.image_size,
            class_names=class_names,
            origins=origins,
            left_out=left_out,
            left_out_by_settings=left_out_by_settings,
            counts={split: len(tally.labels_N) for split, tally in tallies.items()},
            class_counts={
                split: tuple(np.bincount(tally.labels_N, minlength=len(class_names)).tolist())
                for split, tally in tallies.items()
            },
            image_modes={split: dict(tally.modes) for split, tally in tallies.items()},
            original_sizes={split: dict(tally.sizes) for split, tally in tallies.items()},
            dropped_counts={split: tally.n_dropped for split, tally in tallies.items()},
            dropped={split: tuple(tally.dropped) for split, tally in tallies.items()},
            duplicates=duplicates,
            lacks_confirmation=lacks_confirmation,
            mean=tallies[TRAIN].mean(),
            std=tallies[TRAIN].std(),
        )

    @property
    def not_used(self) -> tuple[LeftOut, ...]:
        """All of the source that is not used, for whatever reason."""
        return self.left_out + self.left_out_by_settings

    def save(self, path: Path) -> None:
        """Writes the description as JSON, which earlier versions read too where they can."""
        unknown_earlier = set() if self.lacks_confirmation else {"lacks_confirmation"}
        text = self.model_dump_json(indent=2, exclude=unknown_earlier)
        path.write_text(text + "\n", encoding="utf-8")


@dataclass
class SplitTally:
    """What is counted while the images of one split, or some of them, are decoded."""

    labels_N: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    rows_N: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Where the images lie in the split of the source."""
    digests_N: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    names: list[str] = field(default_factory=list)
    """What the source calls the images."""
    modes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    n_dropped: int = 0
    dropped: list[BrokenImage] = field(default_factory=list)
    """The first of those that were dropped."""
    n_pixels: int = 0
    sums_C: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, dtype=np.int64))
    square_sums_C: NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, dtype=np.int64))

    def mean(self) -> tuple[float, float, float]:
        """Mean of each channel, on the scale [0, 1]."""
        red, green, blue = (self.sums_C / self.n_pixels / 255).tolist()
        return red, green, blue

    def std(self) -> tuple[float, float, float]:
        """Standard deviation of each channel over all pixels, on the scale [0, 1].

        Raises:
            DataError: A channel is the same everywhere, so nothing can normalise it.
        """
        variances_C = self.square_sums_C / self.n_pixels - (self.sums_C / self.n_pixels) ** 2
        red, green, blue = (np.sqrt(np.maximum(variances_C, 0)) / 255).tolist()
        for name, deviation in (("red", red), ("green", green), ("blue", blue)):
            if deviation < LEAST_DEVIATION:
                raise DataError(
                    f"data.source must have training images that differ in every channel, {name} "
                    "is the same in all their pixels: give other images, or grey ones"
                )
        return red, green, blue


def join_tallies(tallies: Iterable[SplitTally]) -> SplitTally:
    """Adds tallies up, in time and memory linear in what they hold.

    Args:
        tallies: of some images each, in the order of the images.
    """
    joined = SplitTally()
    labels, rows, digests = [joined.labels_N], [joined.rows_N], [joined.digests_N]
    for tally in tallies:
        labels.append(tally.labels_N)
        rows.append(tally.rows_N)
        digests.append(tally.digests_N)
        joined.names += tally.names
        joined.modes.update(tally.modes)
        joined.sizes.update(tally.sizes)
        joined.n_dropped += tally.n_dropped
        joined.dropped += tally.dropped[: MOST_BROKEN_IMAGES - len(joined.dropped)]
        joined.n_pixels += tally.n_pixels
        joined.sums_C += tally.sums_C
        joined.square_sums_C += tally.square_sums_C
    joined.labels_N, joined.rows_N = np.concatenate(labels), np.concatenate(rows)
    joined.digests_N = np.concatenate(digests)
    return joined


def tally_images(
    images_NHWC: NDArray[np.uint8],
    labels_N: NDArray[np.int64],
    *,
    rows_N: NDArray[np.int64],
    names: list[str],
    originals: list[Original],
    dropped: list[BrokenImage],
) -> SplitTally:
    """Counts some decoded images and sums their pixels up.

    Args:
        images_NHWC: the images that were decoded.
        labels_N: their classes.
        rows_N: where they lie in the split of the source.
        names: what the source calls them.
        originals: what they were before.
        dropped: those beside them that could not be decoded.
    """
    # Whole numbers: the sums are exact, in whatever order they are added. Over the images first,
    # in narrow types (255**2 fits 16 bits): 40 times faster than in float64.
    values_NX = images_NHWC.reshape(len(images_NHWC), math.prod(images_NHWC.shape[1:]))
    sums_X = values_NX.sum(axis=0, dtype=np.uint32)
    square_sums_X = np.square(values_NX, dtype=np.uint16).sum(axis=0, dtype=np.uint32)
    return SplitTally(
        labels_N=labels_N,
        rows_N=rows_N,
        names=names,
        digests_N=np.array([original.digest for original in originals], dtype=np.uint64),
        n_dropped=len(dropped),
        dropped=dropped,
        modes=Counter(original.mode for original in originals),
        sizes=Counter(f"{original.width}x{original.height}" for original in originals),
        n_pixels=values_NX.size // 3,
        sums_C=sums_X.reshape(-1, 3).sum(axis=0, dtype=np.int64),
        square_sums_C=square_sums_X.reshape(-1, 3).sum(axis=0, dtype=np.int64),
    )
