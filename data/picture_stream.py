"""Picture files, decoded in order and prepared as for training, with little memory for any number.

Must not know about splits or labels, nor keep anything.
"""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from data.broken_images import describe_error
from data.colours import Range
from data.decoding import Resize, decode
from data.decoding_threads import chunk_images, count_threads, in_order

T = TypeVar("T")


class StreamedPicture(NamedTuple):
    """A picture, or why there is none.

    Attributes:
        path: Its file.
        pixels_HWC: Prepared, uint8, RGB, square; None where the file is broken.
        error: Why it is broken, else empty.
    """

    path: str
    pixels_HWC: NDArray[np.uint8] | None
    error: str = ""


def stream_pictures(
    paths: Iterable[str], *, image_size: int, resize: Resize, value_range: Range | None
) -> Generator[StreamedPicture, None, None]:
    """Decode files in threads, at most a batch and a few pictures ahead of the reader.

    Args:
        paths: The files, in the order of the result.
        image_size: Height and width of a prepared picture, in pixels.
        resize: How a picture becomes square.
        value_range: Black and white of pictures of more than 8 bits; None: as the file says.

    Yields:
        One picture for each path, broken ones too.
    """

    def decode_one(path: str) -> StreamedPicture:
        content = Path(path)
        try:
            pixels_HWC, _ = decode(
                content, image_size=image_size, resize=resize, value_range=value_range
            )
        # Pillow raises nearly anything on damaged files; each is reported.
        except Exception as error:
            return StreamedPicture(path, None, describe_error(content, error))
        return StreamedPicture(path, pixels_HWC)

    n_ahead = chunk_images(image_size) + 2 * count_threads()
    with ThreadPoolExecutor(count_threads()) as threads:
        yield from in_order(threads, decode_one, paths, n_ahead=n_ahead)


def batched(items: Iterable[T], n_items: int) -> Iterator[list[T]]:
    """Yield lists of so many items; the last one may be shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, n_items)):
        yield batch
