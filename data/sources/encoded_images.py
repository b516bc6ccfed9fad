"""What every kind of source gives: labelled rows of pictures that are not decoded yet.

Must not know where the rows come from or what becomes of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from data.errors import DataError
from data.splits import TEST, TRAIN, VALIDATION

SPLIT_BY_NAME = {
    "train": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "test": TEST,
}


class LeftOut(BaseModel, frozen=True, extra="forbid"):
    """Files or rows of a source that are not used, and why.

    `split` is the source's own name of the split they lie in, none where they lie in no split.
    `examples` names the first of them.
    """

    split: str | None
    reason: str
    count: int
    examples: tuple[str, ...] = ()


class EncodedImage(NamedTuple):
    """One picture as it is stored: its name for messages, and its bytes, file, or nothing."""

    name: str
    content: bytes | Path | None


@dataclass(frozen=True)
class EncodedSplit:
    """One split: the class of every row (-1: unlabelled) and a thread-safe reader of rows.

    `name` is what the source calls it: a folder below the source, or a split of its tables.
    """

    labels_N: NDArray[np.int64]
    read: Callable[[NDArray[np.int64]], list[EncodedImage]]
    name: str


@dataclass(frozen=True)
class EncodedImages:
    """A whole source: the names of its classes, its splits, and what it has beside them.

    `splits` goes by train, validation and test.
    """

    class_names: tuple[str, ...]
    splits: dict[str, EncodedSplit]
    left_out: tuple[LeftOut, ...] = ()


def match_splits(
    names: Iterable[str],
    *,
    source: str,
    chosen: Mapping[Literal["train", "validation", "test"], str] | None = None,
) -> dict[str, str]:
    """Maps train, validation and test to the names under which a source has them.

    Raises:
        DataError: there is no train split, two names mean the same split, or a chosen one is not
            there.
    """
    found: dict[str, str] = {}
    names = list(names)
    if chosen is not None:
        for name in chosen.values():
            if name not in names:
                raise DataError(
                    f"data.splits must name splits of '{source}', got '{name}'; it has "
                    f"{', '.join(names)}"
                )
        return {split: name for split, name in chosen.items()}
    for name in names:
        split = SPLIT_BY_NAME.get(name)
        if split in found:
            raise DataError(
                f"data.source: '{source}' must have one {split} split, it has '{found[split]}' "
                f"and '{name}'; remove one"
            )
        if split is not None:
            found[split] = name
    if TRAIN not in found:
        raise DataError(
            f"data.source: '{source}' must have a train split, it has "
            f"{', '.join(names) or 'none'}; name one of them train"
        )
    return found
