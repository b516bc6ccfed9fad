"""What every kind of source gives: labelled rows of pictures that are not decoded yet.

Must not know where the rows come from or what becomes of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel


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
